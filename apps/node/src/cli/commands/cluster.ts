/** `blixard cluster status|members|add|remove|banned|rotate-key|promote|demote|scheduling|rebalance|transfer-leader|snapshot save` */
import { BlixardError } from "@blixard/common";
import type { MemberRole, PendingJoin } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { nodeIdOf } from "../node-name.ts";
import { print, printList } from "../output.ts";
import { acceptTwoCopies, banNode } from "./ban-node.ts";
import { addRebalance } from "./node-work.ts";
import { addClusterRecover } from "./offline.ts";
import { addRotateKey } from "./rotate-key.ts";
import { addScheduling } from "./scheduling.ts";
import { addStatusAction } from "./status.ts";
import { banView, memberView, pendingJoinView } from "./views.ts";

type AddOptions = ClientOptions & { readonly role: string; readonly yes?: boolean };
type RoleOptions = RemoveOptions & { readonly role: string };
type RemoveOptions = ClientOptions & {
  readonly yes?: boolean;
  readonly force?: boolean;
  readonly compromised?: boolean;
  readonly acceptTwoCopies?: string;
};

export function registerCluster(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  addStatusAction(add("status", "the cluster at a glance"), context);
  addScheduling(command, context);
  addRebalance(command, context);
  add("members", "list the members as the answering node sees them").action((options: ClientOptions) =>
    withClient(context, options, async ({ client, format }) => {
      const { members, leaderId } = await client.status();
      await printList(context, format, memberView(leaderId), members);
    }),
  );
  add("add [machine]", "accept a machine that asked to join, by its key or its node id; without one, list them")
    .option("--role <role>", "voter, worker, witness or learner", "voter")
    .option("--yes", "do not ask")
    .action((machine: string | undefined, options: AddOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const waiting = await client.members.pending();
        if (machine === undefined) return await printList(context, format, pendingJoinView, waiting);
        const chosen = chooseMachine(waiting, machine);
        if (chosen.endpointId !== machine) {
          say(context, `node ${chosen.nodeId}, ${chosen.addresses.join(", ")}, key ${chosen.endpointId}`);
          await confirm(context, "Is this the key that the machine shows?", options.yes);
        }
        const written = await client.members.accept(chosen.endpointId, options.role as MemberRole);
        await print(context, format, written, () => `node ${written.nodeId} may join\n`, [String(written.nodeId)]);
      }),
    );
  add("remove <node>", "take a node out of the cluster for good")
    .option("--yes", "do not ask")
    .option("--force", "even if the node does not answer, the quorum gets smaller or VMs are placed there")
    .option("--compromised", "somebody else may hold its key: ban that for good, and list what it held")
    .option(
      "--accept-two-copies <name,...>",
      "with --force or --compromised: the VMs that are placed there, which may run twice",
    )
    .action((id: string, options: RemoveOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const nodeId = await nodeIdOf(client, id);
        if (options.compromised === true) return await banNode({ context, client, format }, nodeId, options);
        await confirm(context, `Remove node ${nodeId} for good?`, options.yes);
        const named = options.force === true ? await acceptTwoCopies(context, client, nodeId, options) : undefined;
        const written = await client.members.remove(nodeId, options.force ?? false, named);
        await print(context, format, written, () => `node ${nodeId} removed at index ${written.index}\n`, [id]);
      }),
    );
  add("banned", "list the keys that are refused for good").action((options: ClientOptions) =>
    withClient(context, options, async ({ client, format }) =>
      printList(context, format, banView, await client.bans.list()),
    ),
  );
  addRotateKey(command, context);
  for (const [verb, fallback, other, summary] of [
    ["promote", "voter", "witness", "let a learner or a worker vote"],
    ["demote", "learner", "worker", "take the vote of a member; a worker goes on taking VMs, a learner does not"],
  ] as const) {
    add(`${verb} <node>`, summary)
      .option("--role <role>", `${fallback} or ${other}`, fallback)
      .option("--force", "even if the quorum gets smaller")
      .action((id: string, options: RoleOptions) =>
        withClient(context, options, async ({ client, format }) => {
          const nodeId = await nodeIdOf(client, id);
          const role = options.role === other ? other : fallback;
          if (options.role !== role) {
            throw new BlixardError(
              "INVALID_ARGUMENT",
              `${verb} makes a ${fallback} or a ${other}, not a ${options.role}`,
            );
          }
          const written = await client.members.setRole(nodeId, role, options.force ?? false);
          await print(context, format, written, () => `node ${nodeId} is a ${role} now\n`, [id]);
        }),
      );
  }
  add("transfer-leader [node]", "hand leadership to a voter, or to the one that is most caught up").action(
    (id: string | undefined, options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const to = id === undefined ? undefined : await nodeIdOf(client, id);
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

const keyDigitsMin = 16;

/** A machine by its node id, or by its key or the first digits of it. @throws NOT_FOUND, INVALID_ARGUMENT */
function chooseMachine(waiting: readonly PendingJoin[], given: string): PendingJoin {
  const isId = /^\d{1,5}$/.test(given);
  if (!isId && !new RegExp(`^[0-9a-f]{${keyDigitsMin},64}$`).test(given)) {
    throw new BlixardError("INVALID_ARGUMENT", `"${given}" is no node id and no key`, {
      hint: `Give at least ${keyDigitsMin} digits of the key. List the machines with: blixard cluster add`,
    });
  }
  const found = waiting.filter((machine) =>
    isId ? machine.nodeId === Number(given) : machine.endpointId.startsWith(given),
  );
  const [first, second] = found;
  if (first === undefined) {
    throw new BlixardError("NOT_FOUND", `no machine that waits to join is ${given}`, {
      hint: "It must be running and asking. List those that do with: blixard cluster add",
    });
  }
  if (second === undefined) return first;
  throw new BlixardError("INVALID_ARGUMENT", `${found.length} machines ask to be node ${given}`, {
    hint: `Name one by its key: ${found.map(({ endpointId }) => endpointId).join(", ")}`,
  });
}
