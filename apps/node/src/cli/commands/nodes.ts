/** `blixard nodes list|get|cordon|uncordon|label|drain|resume|evacuate` */
import { labelsText } from "@blixard/protocol";
import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { nodeIdOf } from "../node-name.ts";
import { print } from "../output.ts";
import { showItem, showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { registerNodeWork } from "./node-work.ts";
import { nodeView } from "./views.ts";
import { parseLabels } from "./vm-placement-options.ts";

export function registerNodes(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  withWatchOption(add("list", "list the nodes with what they can do and what they run"))
    .alias("ls")
    .action((options: WatchOptions) =>
      withClient(context, options, (session) =>
        showList(session, options, nodeView, () => session.client.nodes.list()),
      ),
    );
  withWatchOption(add("get <node>", "show one node")).action((id: string, options: WatchOptions) =>
    withClient(context, options, async (session) => {
      const nodeId = await nodeIdOf(session.client, id);
      return await showItem(session, options, nodeView, () => session.client.nodes.get(nodeId));
    }),
  );
  for (const [verb, summary, cordoned] of [
    ["cordon", "place no new VMs on a node", true],
    ["uncordon", "place VMs on a node again, and bring nothing back", false],
  ] as const) {
    add(`${verb} <node>`, summary).action((id: string, options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const written = await client.nodes.cordon(await nodeIdOf(client, id), cordoned);
        await print(context, format, written, () => `node ${id} ${cordoned ? "cordoned" : "uncordoned"}\n`, [id]);
      }),
    );
  }
  add("label <node> <labels...>", "give labels to a node (KEY=VALUE), or take them away (KEY-)").action(
    (id: string, labels: readonly string[], options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const unset = labels.filter((label) => label.endsWith("-") && !label.includes("="));
        const set = parseLabels(
          labels.filter((label) => !unset.includes(label)),
          "label",
        );
        const request = { id: await nodeIdOf(client, id), set, unset: unset.map((label) => label.slice(0, -1)) };
        const written = await client.nodes.label(request);
        await print(context, format, written, () => `node ${id}: ${labelsText(written.labels) || "no labels"}\n`, [id]);
      }),
  );
  registerNodeWork(command, context);
}
