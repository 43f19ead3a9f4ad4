/** `blixard nodes list|get|cordon|resume` */
import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { print, printItem, printList } from "../output.ts";
import { parseInteger } from "../quantities.ts";
import { nodeView } from "./views.ts";

export function registerNodes(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  add("list", "list the nodes with what they can do and what they run")
    .alias("ls")
    .action((options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) =>
        printList(context, format, nodeView, await client.nodes.list()),
      ),
    );
  add("get <id>", "show one node").action((id: string, options: ClientOptions) =>
    withClient(context, options, async ({ client, format }) =>
      printItem(context, format, nodeView, await client.nodes.get(parseInteger(id, "the node id", 1))),
    ),
  );
  for (const [verb, summary, cordoned] of [
    ["cordon", "place no new VMs on a node", true],
    ["resume", "place VMs on a node again", false],
  ] as const) {
    add(`${verb} <id>`, summary).action((id: string, options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const written = await client.nodes.cordon(parseInteger(id, "the node id", 1), cordoned);
        await print(context, format, written, () => `node ${id} ${cordoned ? "cordoned" : "resumed"}\n`, [id]);
      }),
    );
  }
}
