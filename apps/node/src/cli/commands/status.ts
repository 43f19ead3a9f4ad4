/** `blixard status`: leader, quorum, members, VMs, and the next useful command. */
import type { BlixardClient } from "@blixard/client";
import type { NodeStatus, NodeView } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { print } from "../output.ts";
import { formatTable } from "../table.ts";
import { formatRtt, memberView } from "./views.ts";

type NodePath = NonNullable<NodeView["paths"]>[number];

export function registerStatus(command: Command, context: CliContext): void {
  addStatusAction(withClientOptions(command), context);
}

export function addStatusAction(command: Command, context: CliContext): void {
  command.action((options: ClientOptions) =>
    withClient(context, options, async ({ client, format }) => {
      const status = await client.status();
      const pairs = format === "table" && status.leaderId !== null ? await pairsText(client) : "";
      await print(context, format, status, () => statusText(status) + pairs, [status.clusterId]);
      if (format === "table" || format === "wide") say(context, nextStep(status));
    }),
  );
}

function statusText(status: NodeStatus): string {
  const view = memberView(status.leaderId);
  const columns = view.columns.filter((column) => column.wide !== true);
  const members = formatTable(
    columns.map((column) => column.title),
    status.members.map((member) => columns.map((column) => String(column.value(member) ?? "-"))),
  );
  const storage = status.storage.healthy ? "healthy" : `FAILED: ${status.storage.lastError ?? "unknown"}`;
  const lines = [
    `cluster   ${status.clusterId}`,
    `leader    ${status.leaderId === null ? "none is known" : `node ${status.leaderId}, term ${status.term}`}`,
    `quorum    ${quorumText(status)}`,
    `log       applied ${status.appliedIndex}, committed ${status.commitIndex}, snapshot ${status.snapshotIndex}`,
    `storage   ${storage}`,
    ...(status.clusterLevel === undefined ? [] : [`level     ${levelText(status, status.clusterLevel)}`]),
    `vms       ${status.vms.running} of ${status.vms.total} running`,
    `answered  node ${status.nodeId} (${status.role}), blixard ${status.version}, drivers ${status.drivers.join(", ") || "none"}`,
  ];
  return `${lines.join("\n")}\n\n${members}`;
}

/** The feature level of the cluster, and who keeps it from rising. */
function levelText({ featureLevel, levelHeldBy = [] }: NodeStatus, level: number): string {
  if (levelHeldBy.length === 0) return String(level);
  const nodes = `node${levelHeldBy.length === 1 ? "" : "s"} ${levelHeldBy.join(", ")}`;
  return `${level}, held by ${nodes}; this node understands ${featureLevel}`;
}

const pairsTimeoutMs = 2_000;

/** Each pair as the first of the two sees it, as the leader hears. Empty with a single node. */
async function pairsText(client: BlixardClient): Promise<string> {
  const nodes = await client.nodes.list({ timeoutMs: pairsTimeoutMs }).catch(() => []);
  const pairs = nodes.flatMap(({ id, paths = [] }) =>
    paths.filter(({ to }) => to > id).map((pair) => ({ id, ...pair })),
  );
  if (pairs.length === 0) return "";
  return `\n${formatTable(["PAIR", "PATH", "TRANSPORT", "RTT"], pairs.map(pairRow))}`;
}

function pairRow({ id, to, path, transport, rttMs }: { readonly id: number } & NodePath): string[] {
  return [`${id} - ${to}`, path, transport, rttMs === null ? "-" : formatRtt(rttMs)];
}

/** Session heartbeats come every 300 ms; a member that was silent for longer than this does not count as present. */
const presentWithinMs = 3_000;

function quorumText(status: NodeStatus): string {
  const voters = status.members.filter((member) => member.role === "voter" || member.role === "witness");
  const present = voters.filter(({ lastContactMs }) => lastContactMs !== null && lastContactMs <= presentWithinMs);
  const quorum = Math.floor(voters.length / 2) + 1;
  const spare = present.length - quorum;
  const room = spare >= 0 ? `${spare} more may fail` : `${-spare} too few`;
  return `${quorum} of ${voters.length} voters needed, ${present.length} heard from here; ${room}`;
}

function nextStep(status: NodeStatus): string {
  if (status.leaderId === null) return "next: start the missing nodes; a leader needs a majority of the voters";
  if (status.members.length < 3)
    return "next: blixard ticket create, and join more nodes; three survive the loss of one";
  if (status.vms.total === 0) return "next: blixard vm create web --image demo --memory 64M";
  return "next: blixard vm list";
}
