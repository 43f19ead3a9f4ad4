/** Commands of bans: keys that are refused for good. */
import { type BanRecord, type CommandBodyOf, limits, type VmRecord } from "@blixard/protocol";
import { unnamedVms, vmsOn, vmsRefusal } from "./node.ts";
import { done, nodeNotFound, refuse } from "./outcomes.ts";
import { nodeKey, sortedRecords } from "./state.ts";
import { ownTokenOf } from "./token.ts";
import type { AppliersOf, Change, ClusterState, CommandEntry, Outcome } from "./types.ts";

export const banAppliers: AppliersOf<"ban"> = { "ban.add": applyAdd };

/** What the command answers, also to who asks again. */
export interface BanOutcome {
  readonly role: BanRecord["role"];
  readonly vms: readonly string[];
  readonly tokens: readonly string[];
  readonly tickets: readonly string[];
}

function applyAdd(
  state: ClusterState,
  { nodeId, endpointId, acceptTwoCopies }: CommandBodyOf<"ban.add">,
  { command, index }: CommandEntry,
): Outcome {
  const node = state.nodes.get(nodeKey(nodeId));
  const before = state.banned.get(endpointId);
  if (node !== undefined && node.endpointId !== endpointId) {
    return refuse("CONFLICT", `node ${nodeId} has another key by now`, "See: blixard nodes list -o wide");
  }
  const isFormer = state.removed.get(nodeKey(nodeId))?.endpointId === endpointId;
  if (node === undefined && before === undefined && !isFormer) return nodeNotFound(nodeId);
  const unnamed = node === undefined ? [] : unnamedVms(state, nodeId, acceptTwoCopies);
  if (unnamed.length > 0) return refuse("CONFLICT", vmsRefusal(nodeId, unnamed), vmsHint(unnamed));
  if (before === undefined && state.banned.size >= limits.bansMax) {
    return refuse(
      "CONFLICT",
      `${limits.bansMax} keys are banned already`,
      "Make a new cluster: each ban is kept for good.",
    );
  }
  const role = before?.role ?? node?.role ?? null;
  const ban: BanRecord = before ?? { endpointId, nodeId, role, bannedUnixMs: command.atUnixMs, index };
  // A ticket that is made after the ban was not there to be seen.
  const tickets = before === undefined ? openTickets(state, command.atUnixMs) : [];
  const tokens = tokensOf(state, nodeId, endpointId);
  const changes: Change[] = [
    { table: "banned", key: endpointId, value: ban },
    // Whoever took the present key of a node that changes it has the next one too.
    ...(node?.nextKey === undefined ? [] : [bannedToo(ban, node.nextKey.endpointId)]),
    ...(node === undefined
      ? []
      : [{ table: "nodes", key: nodeKey(nodeId), value: { ...node, leaving: true } } as const]),
    ...tickets.map((ticket) => ({ table: "tickets", key: ticket.id, value: { ...ticket, revoked: true } }) as const),
    ...tokens.map((id) => ({ table: "tokens", key: id, value: undefined }) as const),
  ];
  const vms = node === undefined ? [] : vmsOn(state, nodeId).map(({ name }) => name);
  const outcome: BanOutcome = { role, vms, tokens, tickets: tickets.map(({ id }) => id) };
  return done(outcome, changes);
}

function bannedToo(ban: BanRecord, endpointId: string): Change {
  return { table: "banned", key: endpointId, value: { ...ban, endpointId } };
}

/** Whoever holds the state can show those: it holds what they are checked against. */
function openTickets(state: ClusterState, atUnixMs: number) {
  return sortedRecords(state, "tickets").filter(
    ({ revoked, usedBy, expiresUnixMs }) => !revoked && usedBy === null && atUnixMs < expiresUnixMs,
  );
}

/** The token in the data directory of the node, and what its key was given. */
function tokensOf(state: ClusterState, nodeId: number, endpointId: string): string[] {
  const own = state.nodes.has(nodeKey(nodeId)) ? ownTokenOf(state, nodeId)?.id : undefined;
  return sortedRecords(state, "tokens")
    .filter((token) => token.id === own || token.endpointId === endpointId)
    .map(({ id }) => id);
}

/** What to say about the VMs on the node: nobody can stop them there. */
export function vmsHint(vms: readonly VmRecord[]): string {
  return (
    "They are placed nowhere then, and nobody starts them by itself. One that a person starts elsewhere may run twice, so " +
    `switch the machine off first, and name them: --accept-two-copies ${vms.map(({ name }) => name).join(",")}`
  );
}
