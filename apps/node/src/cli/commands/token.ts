/** `blixard token create|list|revoke` */
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { print } from "../output.ts";
import { showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { tokenView } from "./views.ts";

type CreateOptions = ClientOptions & { readonly role: string; readonly name?: string };

export function registerToken(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  add("create", "make a bearer token for the HTTP API; it is shown once")
    .option("--role <role>", "admin or viewer", "viewer")
    .option("--name <name>", "for whom it is")
    .action((options: CreateOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const created = await client.tokens.create({
          role: options.role as "viewer",
          ...(options.name === undefined ? {} : { name: options.name }),
        });
        await print(context, format, created, () => `${created.token}\n`, [created.id]);
        say(context, `token ${created.id} is good until: blixard token revoke ${created.id}`);
      }),
    );
  withWatchOption(add("list", "list bearer tokens, and the keys that a ticket for an operator or a viewer let in"))
    .alias("ls")
    .action((options: WatchOptions) =>
      withClient(context, options, (session) =>
        showList(session, options, tokenView, () => session.client.tokens.list()),
      ),
    );
  add("revoke <id>", "take the rights of a token or a key").action((id: string, options: ClientOptions) =>
    withClient(context, options, async ({ client, format }) => {
      const written = await client.tokens.revoke(id);
      await print(context, format, written, () => `token ${id} revoked\n`, [id]);
    }),
  );
}
