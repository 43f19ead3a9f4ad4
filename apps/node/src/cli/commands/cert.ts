/** `blixard cert list|rotate|revoke` */
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { nodeIdOf } from "../node-name.ts";
import { print, printList } from "../output.ts";
import { certificateView } from "./views.ts";

type ScopeOptions = ClientOptions & { readonly thisNode?: boolean };
type RevokeOptions = ClientOptions & { readonly yes?: boolean };

const scopeOf = (options: ScopeOptions) => (options.thisNode ? "node" : "cluster");

export function registerCert(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  add("list", "list the TLS certificates that the nodes show")
    .alias("ls")
    .option("--this-node", "only those of the node that answers")
    .action((options: ScopeOptions) =>
      withClient(context, options, async ({ client, format }) =>
        printList(context, format, certificateView, await client.certificates.list(scopeOf(options))),
      ),
    );
  add("rotate", "make new certificates, and read those of an operator's CA again; open connections go on")
    .option("--this-node", "only at the node that answers")
    .action((options: ScopeOptions) =>
      withClient(context, options, async ({ client, format }) =>
        printList(context, format, certificateView, await client.certificates.rotate(scopeOf(options))),
      ),
    );
  add("revoke <node>", "refuse the key of a node from now on, which removes it from the cluster")
    .option("-y, --yes", "do not ask")
    .action((id: string, options: RevokeOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const nodeId = await nodeIdOf(client, id);
        await confirm(context, `Remove node ${nodeId}? All others then refuse its key.`, options.yes);
        const written = await client.members.remove(nodeId);
        await print(context, format, written, () => `node ${nodeId} removed; its key is refused\n`, [id]);
        say(context, "It comes back only with a new ticket and an empty data directory.");
      }),
    );
}
