/** `blixard token create|list|revoke|rotate|narrow` */
import type { BlixardClient } from "@blixard/client";
import { notApplied } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { AccessRole, TokenView } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { print } from "../output.ts";
import { secondsOf } from "../quantities.ts";
import { showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { tokenView } from "./views.ts";

type CreateOptions = ClientOptions & { readonly role: string; readonly name?: string; readonly ttl?: string };
type LastOptions = ClientOptions & { readonly lastAdmin?: boolean; readonly yes?: boolean };
type NarrowOptions = LastOptions & { readonly role: string };

export function registerToken(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  add("create", "make a bearer token for the HTTP API; it is shown once")
    .option("--role <role>", "viewer, operator or admin", "viewer")
    .option("--name <name>", "for whom it is")
    .option("--ttl <time>", "how long it is good for (default: until it is revoked)")
    .action((options: CreateOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const created = await client.tokens.create({
          role: options.role as AccessRole,
          ...(options.ttl === undefined ? {} : { ttlSeconds: secondsOf(options.ttl) }),
          ...(options.name === undefined ? {} : { name: options.name }),
        });
        await print(context, format, created, () => `${created.token}\n`, [created.id]);
        const until = options.ttl === undefined ? "" : ` for ${options.ttl}, or`;
        say(context, `token ${created.id} is good${until} until: blixard token revoke ${created.id}`);
      }),
    );
  withWatchOption(add("list", "list bearer tokens, and the keys that a ticket for an operator or a viewer let in"))
    .alias("ls")
    .action((options: WatchOptions) =>
      withClient(context, options, (session) =>
        showList(session, options, tokenView, () => session.client.tokens.list()),
      ),
    );
  add("revoke <id>", "take the rights of a token or a key")
    .option("--last-admin", "also when nobody is left then who may do everything")
    .option("--yes", "do not ask")
    .action((id: string, options: LastOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const lastAdmin = await agreedToLast(context, client, id, options);
        const written = await client.tokens.revoke(id, lastAdmin);
        await print(context, format, written, () => `token ${id} revoked\n`, [id]);
      }),
    );
  add("rotate <id>", "give a bearer token another text; the old one is good for nothing").action(
    (id: string, options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const rotated = await client.tokens.rotate(id);
        await print(context, format, rotated, () => (rotated.token === null ? "" : `${rotated.token}\n`), [id]);
        if (rotated.token === null) say(context, `${id}: its node writes the new text into its data directory`);
      }),
  );
  add("narrow [ids...]", "take rights from tokens and keys; without ids: from the keys of operators of before")
    .option("--role <role>", "the role that they have afterwards: operator or viewer", "operator")
    .option("--last-admin", "also when nobody is left then who may do everything")
    .option("--yes", "do not ask")
    .action((ids: string[], options: NarrowOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const tokens = await client.tokens.list();
        const chosen = ids.length > 0 ? ids : tokens.filter(isFormerOperator).map(({ id }) => id);
        if (ids.length === 0 && chosen.length > 0) {
          const names = tokens.filter(({ id }) => chosen.includes(id)).map(({ id, name }) => `${id} (${name ?? "-"})`);
          const question = `Leave the rights of the role ${options.role} to ${names.join(", ")}?`;
          await confirm(context, question, options.yes);
        }
        for (const id of chosen) {
          const lastAdmin = await agreedToLast(context, client, id, options);
          await client.tokens.narrow(id, options.role as AccessRole, lastAdmin);
          say(context, `${id} has the role ${options.role} now`);
        }
        await print(context, format, { narrowed: chosen }, () => "", chosen);
        if (chosen.length === 0) say(context, "no key has all rights by an operator's ticket");
      }),
    );
}

/** True when somebody agreed to it that nobody may do everything any more; undefined where that is not so. */
async function agreedToLast(
  context: CliContext,
  client: BlixardClient,
  id: string,
  { lastAdmin, yes }: LastOptions,
): Promise<true | undefined> {
  const nowUnixMs = systemClock.unixMs();
  const admins = (await client.tokens.list()).filter(
    ({ role, revoked, expiresUnixMs = Number.POSITIVE_INFINITY }) =>
      role === "admin" && revoked === undefined && nowUnixMs < expiresUnixMs,
  );
  if (admins.length !== 1 || admins[0]?.id !== id) return undefined;
  const what = `${id} is the last administrator: nobody could change tokens or members any more`;
  if (lastAdmin !== true && context.stdin.isTTY !== true) {
    throw notApplied("CONFLICT", what, {
      hint: "Make another one first, or add --last-admin. The way back is: blixard recover --admin-token",
    });
  }
  await confirm(context, `${what}. Go on?`, lastAdmin === true && (yes === true || context.stdin.isTTY !== true));
  return true;
}

/** Before there were three roles, a ticket for an operator gave all rights. */
function isFormerOperator({ role, endpointId, ticketId }: TokenView): boolean {
  return role === "admin" && endpointId !== undefined && ticketId === undefined;
}
