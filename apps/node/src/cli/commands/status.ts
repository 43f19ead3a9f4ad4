/** `blixard status`: leader, quorum, members, VMs, and the next useful command. */
import type { BlixardClient } from "@blixard/client";
import type { LostVm, MemberStatus, NodeStatus, NodeView } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { print } from "../output.ts";
import { formatTable } from "../table.ts";
import { formatRtt, memberView } from "./views.ts";

type NodePath = NonNullable<NodeView["paths"]>[number];

export function registerStatus(command: Command, context: CliContext): void {
  addStatusAction(withClientOptions(command), context);
}

export function addStatusAction(command: Command, context: CliContext): void {
  const show = async ({ client, format }: ClientSession) => {
    const status = await client.status();
    const nodes = status.leaderId === null ? [] : await nodesOf(client);
    const fates = await fatesOf(client, nodes);
    const warnings = warningsOf(status, nodes, fates);
    const text = () => statusText(status, format === "wide") + pairsText(nodes);
    await print(context, format, { ...status, warnings }, text, [status.clusterId]);
    if (format !== "table" && format !== "wide") return;
    for (const warning of warnings) say(context, `warning: ${warning}`);
    say(context, nextStep(status, nodes));
  };
  command.action((options: ClientOptions) => withClient(context, options, show, { onlyStatus: true }));
}

function statusText(status: NodeStatus, wide: boolean): string {
  const view = memberView(status.leaderId);
  const columns = view.columns.filter((column) => wide || column.wide !== true);
  const members = formatTable(
    columns.map((column) => column.title),
    status.members.map((member) => columns.map((column) => String(column.value(member) ?? "-"))),
  );
  const { comeback } = status.storage;
  const kept =
    comeback === undefined
      ? ""
      : `; came back ${new Date(comeback.startedUnixMs).toISOString()} without its damaged log, kept in ${comeback.keptIn}`;
  const storage = status.storage.healthy ? `healthy${kept}` : `FAILED: ${status.storage.lastError ?? "unknown"}`;
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

const nodesTimeoutMs = 2_000;

/** The nodes as the leader sees them; none when it does not answer soon. */
function nodesOf(client: BlixardClient): Promise<readonly NodeView[]> {
  return client.nodes.list({ timeoutMs: nodesTimeoutMs }).catch(() => []);
}

/** What somebody should look at, whether or not all goes on. */
function warningsOf(status: NodeStatus, nodes: readonly NodeView[], fates: ReadonlyMap<number, string>): string[] {
  // It hears nobody because it takes no part.
  if (status.heldBack !== undefined) return [`node ${status.nodeId} takes no part: it is ${status.heldBack}`];
  const silent = nodes.length > 0 ? nodes.filter(isDead) : status.members.filter((member) => !isPresent(member));
  const cordoned = nodes.filter((node) => node.cordoned).map(({ id }) => id);
  const { present, voters, needed } = quorumOf(status);
  return [
    ...(status.leaderId === null ? ["no leader is known: nothing can be changed"] : []),
    ...silent.map((node) => silentText(node, fates.get(node.id))),
    ...(cordoned.length === 0 ? [] : [`${nodeNames(cordoned)} cordoned: no new VM is placed there`]),
    ...(present < voters && present <= needed && status.leaderId !== null
      ? [`${present} of ${voters} voters are heard from here, and ${needed} are needed: no other may fail`]
      : []),
    ...(status.storage.healthy ? [] : [`the storage of node ${status.nodeId} has failed: ${status.storage.lastError}`]),
  ];
}

function silentText(node: NodeView | MemberStatus, fate: string | undefined): string {
  const vms = "vms" in node && node.vms > 0 ? `; ${node.vms} VM${node.vms === 1 ? "" : "s"} on it` : "";
  return `node ${node.id} (${node.name}) does not answer${vms}${fate === undefined ? "" : `: ${fate}`}`;
}

/** Silent nodes whose VMs are asked about. */
const fatesMax = 8;

/** What becomes of the VMs of silent nodes, as far as a leader can be asked. */
async function fatesOf(client: BlixardClient, nodes: readonly NodeView[]): Promise<ReadonlyMap<number, string>> {
  const limit = { timeoutMs: nodesTimeoutMs };
  const asked = nodes.filter((node) => isDead(node) && node.vms > 0).slice(0, fatesMax);
  const fates = asked.map(async ({ id }) => {
    const { lost = [] } = await client.capacity.get({ ifLost: id }, limit);
    const moving = lost.find(({ becomes }) => becomes !== "waits");
    const leftMs =
      moving === undefined ? undefined : (await client.vms.candidates({ name: moving.vm }, limit)).leaseLeftMs;
    return [id, fateText(id, lost, leftMs)] as const;
  });
  const told = await Promise.allSettled(fates);
  return new Map(told.flatMap((each) => (each.status === "fulfilled" ? [each.value] : [])));
}

export function fateText(id: number, lost: readonly LostVm[], leftMs: number | undefined): string {
  const count = (of: LostVm["becomes"]) => lost.filter(({ becomes }) => becomes === of).length;
  const when =
    leftMs === undefined || leftMs === 0 ? "" : ` in ${(leftMs / 1_000).toFixed(1)} s, when its lease is over`;
  const parts = [
    [count("moves"), "starts", "start", ` elsewhere${when}`],
    [count("pending"), "fits", "fit", " nowhere else"],
    [count("waits"), "waits", "wait", ` for node ${id}`],
  ] as const;
  const said = parts.flatMap(([some, one, more, what]) =>
    some === 0 ? [] : [`${some} ${some === 1 ? one : more}${what}`],
  );
  return said.length === 0 ? "none of them is to run" : `${said.join(", ")} (blixard capacity --if-lost ${id})`;
}

function nodeNames(ids: readonly number[]): string {
  return ids.length === 1 ? `node ${ids[0]} is` : `nodes ${ids.join(", ")} are`;
}

const isDead = ({ state }: NodeView) => state === "unreachable";

/** Each pair as the first of the two sees it, as the leader hears. Empty with a single node. */
function pairsText(nodes: readonly NodeView[]): string {
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

const isPresent = ({ lastContactMs }: MemberStatus) => lastContactMs !== null && lastContactMs <= presentWithinMs;

function quorumOf({ members }: NodeStatus) {
  const voters = members.filter(({ role }) => role === "voter" || role === "witness");
  return {
    voters: voters.length,
    present: voters.filter(isPresent).length,
    needed: Math.floor(voters.length / 2) + 1,
  };
}

function quorumText(status: NodeStatus): string {
  const { voters, present, needed } = quorumOf(status);
  const spare = present - needed;
  const room = spare >= 0 ? `${spare} more may fail` : `${-spare} too few`;
  return `${needed} of ${voters} voters needed, ${present} heard from here; ${room}`;
}

function nextStep(status: NodeStatus, nodes: readonly NodeView[]): string {
  const dead = nodes.find(isDead);
  if (dead !== undefined) {
    return `next: start node ${dead.id} again; if it is lost for good: blixard cluster remove ${dead.id}`;
  }
  if (status.heldBack !== undefined) {
    return "next: start the voters that it asks; if its data was restored from a copy, stop it and run: blixard recover";
  }
  if (status.leaderId === null) return "next: start the missing nodes; a leader needs a majority of the voters";
  if (status.members.length < 3)
    return "next: blixard ticket create --role voter, and join more nodes; three survive the loss of one";
  if (status.vms.total === 0) return "next: blixard vm create web --image demo --memory 64M";
  return "next: blixard vm list";
}
