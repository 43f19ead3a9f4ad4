/** `blixard cluster status|members|add|remove|promote|demote|transfer-leader|snapshot save` */
import { BlixardError } from "@blixard/common";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { print, printList } from "../output.ts";
import { parseInteger } from "../quantities.ts";
import { addClusterRecover } from "./offline.ts";
import { addStatusAction } from "./status.ts";
import { memberView } from "./views.ts";

type RemoveOptions = ClientOptions & { readonly yes?: boolean; readonly force?: boolean };

export function registerCluster(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  addStatusAction(add("status", "the cluster at a glance"), context);
  add("members", "list the members as the answering node sees them").action((options: ClientOptions) =>
    withClient(context, options, async ({ client, format }) => {
      const { members, leaderId } = await client.status();
      await printList(context, format, memberView(leaderId), members);
    }),
  );
  add("add [id]", "accept a node that asked to join without a ticket").action(() => {
    throw new BlixardError("UNSUPPORTED", "this release lets nodes join with tickets, or by address on loopback", {
      hint: "Create a ticket: blixard ticket create",
    });
  });
  add("remove <id>", "take a node out of the cluster for good")
    .option("--yes", "do not ask")
    .option("--force", "even if the node does not answer or the quorum gets smaller")
    .action((id: string, options: RemoveOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const nodeId = parseInteger(id, "the node id", 1);
        await confirm(context, `Remove node ${nodeId} for good?`, options.yes);
        const written = await client.members.remove(nodeId, options.force ?? false);
        await print(context, format, written, () => `node ${nodeId} removed at index ${written.index}\n`, [id]);
      }),
    );
  for (const [verb, role, summary] of [
    ["promote", "voter", "let a learner vote"],
    ["demote", "learner", "take the vote of a member"],
  ] as const) {
    add(`${verb} <id>`, summary)
      .option("--force", "even if the quorum gets smaller")
      .action((id: string, options: RemoveOptions) =>
        withClient(context, options, async ({ client, format }) => {
          const nodeId = parseInteger(id, "the node id", 1);
          const written = await client.members.setRole(nodeId, role, options.force ?? false);
          await print(context, format, written, () => `node ${nodeId} is a ${role} now\n`, [id]);
        }),
      );
  }
  add("transfer-leader [id]", "hand leadership to a voter, or to the one that is most caught up").action(
    (id: string | undefined, options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const to = id === undefined ? undefined : parseInteger(id, "the node id", 1);
        const result = await client.cluster.transferLeader(to);
        const text = () => `node ${result.leaderId} leads in term ${result.term}\n`;
        await print(context, format, result, text, [String(result.leaderId)]);
      }),
  );
  addClusterRecover(command.command("recover"), context);
  const snapshot = command.command("snapshot").description("snapshots of the replicated state");
  withClientOptions(snapshot.command("save").description("take a snapshot on the node that answers")).action(
    (options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const result = await client.cluster.takeSnapshot();
        await print(context, format, result, () => `snapshot taken at index ${result.index}\n`, [String(result.index)]);
        say(context, `it stands in the data directory of the node at ${client.address}`);
      }),
  );
}
