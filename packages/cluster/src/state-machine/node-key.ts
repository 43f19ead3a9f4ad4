/**
 * Commands that change the key of a node. Both keys are its keys between the two, so that no member has to learn of the
 * next one before the node uses it, and the node never stands before a closed door:
 *
 *     present key -- node.offerKey --> present and next key -- node.useKey, by the next key --> next key, the other banned
 */
import { type BanRecord, type KeyChange, limits, type NodeRecord } from "@blixard/protocol";
import { done, nodeNotFound, refuse, refuseBanned } from "./outcomes.ts";
import { nodeKey, tokenOfKey } from "./state.ts";
import type { Applier, ClusterState, CommandEntry, Outcome } from "./types.ts";

/** The keys with which a node is let in: its own, and the one to which it is changing. */
export function keysOf({ endpointId, nextKey }: Pick<NodeRecord, "endpointId" | "nextKey">): string[] {
  return nextKey === undefined ? [endpointId] : [endpointId, nextKey.endpointId];
}

export const applyOfferKey: Applier<"node.offerKey"> = (state, body, { index }) => {
  const { nodeId, nextEndpointId } = body;
  const node = state.nodes.get(nodeKey(nodeId));
  if (node === undefined) return nodeNotFound(nodeId);
  const stale = staleRefusal(node, body);
  if (stale !== undefined) return stale;
  if (node.nextKey?.endpointId === nextEndpointId) return done({ index: node.nextKey.index });
  if (node.leaving || node.rejoining)
    return refuse("CONFLICT", `node ${nodeId} is on its way out of the cluster or into it`);
  if (state.banned.has(nextEndpointId)) return refuseBanned();
  if (state.banned.size >= limits.bansMax) {
    return refuse(
      "CONFLICT",
      `${limits.bansMax} keys are banned already`,
      "A key that was rotated away is banned too.",
    );
  }
  if (isTaken(state, nextEndpointId)) return refuse("CONFLICT", "the next key is that of somebody else already");
  const value: NodeRecord = { ...node, nextKey: { endpointId: nextEndpointId, index } };
  return done({ index }, [{ table: "nodes", key: nodeKey(nodeId), value }]);
};

export const applyUseKey: Applier<"node.useKey"> = (state, body, { command, index }: CommandEntry) => {
  const { nodeId, endpointId, nextEndpointId, number } = body;
  const node = state.nodes.get(nodeKey(nodeId));
  if (node === undefined) return nodeNotFound(nodeId);
  // A node that lost the answer says so once more.
  if (node.endpointId === nextEndpointId && node.keyNumber === number) return done(null);
  const stale = staleRefusal(node, body);
  if (stale !== undefined) return stale;
  const { nextKey, ...kept } = node;
  if (nextKey?.endpointId !== nextEndpointId) return refuse("CONFLICT", `node ${nodeId} was not offered this key`);
  const ban: BanRecord = { endpointId, nodeId, role: node.role, bannedUnixMs: command.atUnixMs, index };
  return done(null, [
    { table: "banned", key: endpointId, value: ban },
    { table: "nodes", key: nodeKey(nodeId), value: { ...kept, endpointId: nextEndpointId, keyNumber: number } },
  ]);
};

/** A statement about another admission, number or key than the present ones is an old one. */
function staleRefusal(node: NodeRecord, change: KeyChange): Outcome | undefined {
  const isPresent =
    node.incarnation === change.incarnation &&
    node.endpointId === change.endpointId &&
    (node.keyNumber ?? 0) + 1 === change.number;
  if (isPresent) return undefined;
  return refuse("CONFLICT", `node ${node.id} has another key by now`, "See: blixard nodes list -o wide");
}

function isTaken(state: ClusterState, endpointId: string): boolean {
  if (tokenOfKey(state, endpointId) !== undefined) return true;
  for (const removed of state.removed.values()) if (removed.endpointId === endpointId) return true;
  for (const node of state.nodes.values()) if (keysOf(node).includes(endpointId)) return true;
  return false;
}
