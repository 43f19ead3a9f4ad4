/** `blixard ticket create|list|revoke` */
import { BlixardError, hostOf, isLoopbackHost, isRelayUrl } from "@blixard/common";
import { decodeTicket, isAccessRole, type TicketRole, ticketRoleSchema } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { askPerson } from "../confirm.ts";
import { print } from "../output.ts";
import { secondsOf } from "../quantities.ts";
import { showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { ticketView } from "./views.ts";

type CreateOptions = ClientOptions & {
  readonly role?: string;
  readonly name?: string;
  readonly ttl?: string;
  readonly accessTtl?: string;
};
const rolesInWords = ticketRoleSchema.options.join(", ");

export function registerTicket(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  add("create", "make an invitation for one node or one person; whoever holds it can use it once")
    .option("--role <role>", `what it is good for: ${rolesInWords}; asked for on a terminal`)
    .option("--name <name>", "name that the node or the person gets")
    .option("--ttl <time>", "how long it is good for (default 24h)")
    .option(
      "--access-ttl <time>",
      "for a person: how long the key is good for that uses it (default: until it is revoked)",
    )
    .action(async (options: CreateOptions) => {
      const role = await roleOf(context, options.role);
      await withClient(context, options, async ({ client, format }) => {
        const created = await client.tickets.create({
          role,
          ...(options.name === undefined ? {} : { nodeName: options.name }),
          ...(options.ttl === undefined ? {} : { ttlSeconds: secondsOf(options.ttl) }),
          ...(options.accessTtl === undefined ? {} : { accessTtlSeconds: secondsOf(options.accessTtl) }),
        });
        await print(context, format, created, () => `${created.ticket}\n`, [created.id]);
        const expires = new Date(created.expiresUnixMs).toISOString();
        say(context, `ticket ${created.id} can be used once, until ${expires}. On the other machine:`);
        const person = isAccessRole(role);
        const use = person ? "blixard context add NAME -" : "blixard node --id N --bind HOST:PORT --join-file -";
        say(context, `  ${use}     (and give it the ticket on standard input)`);
        if (isOfThisMachineOnly(created.ticket)) {
          say(
            context,
            "warning: the nodes that it names listen on loopback only, so nobody on another machine can use it",
          );
        }
      });
    });
  withWatchOption(add("list", "list tickets; their secrets are not kept"))
    .alias("ls")
    .action((options: WatchOptions) =>
      withClient(context, options, (session) =>
        showList(session, options, ticketView, () => session.client.tickets.list()),
      ),
    );
  add("revoke <id>", "make a ticket useless").action((id: string, options: ClientOptions) =>
    withClient(context, options, async ({ client, format }) => {
      const written = await client.tickets.revoke(id);
      await print(context, format, written, () => `ticket ${id} revoked\n`, [id]);
    }),
  );
}

/** @throws INVALID_ARGUMENT for none off a terminal, and for one that there is not */
async function roleOf(context: CliContext, given: string | undefined): Promise<TicketRole> {
  const role =
    given ??
    (await askPerson(context, `What is the ticket good for? ${rolesInWords}: `, {
      elsewhere: "--role is missing: what is the ticket good for?",
      hint: `Give --role with one of: ${rolesInWords}.`,
    }));
  const known = ticketRoleSchema.safeParse(role);
  if (known.success) return known.data;
  throw new BlixardError("INVALID_ARGUMENT", `"${role}" is no role of a ticket`, {
    hint: `Use one of: ${rolesInWords}.`,
  });
}

function isOfThisMachineOnly(ticket: string): boolean {
  const addresses = addressesIn(ticket);
  return addresses.length > 0 && addresses.every((address) => !isRelayUrl(address) && isLoopbackHost(hostOf(address)));
}

/** None of a ticket of a later release. */
function addressesIn(ticket: string): readonly string[] {
  try {
    return decodeTicket(ticket).endpoints.flatMap(({ addresses }) => addresses);
  } catch {
    return [];
  }
}
