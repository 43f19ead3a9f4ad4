/** Which nodes the leader heard from lately: through the Raft progress, and through the transport's own heartbeats. */
import type { NodeRecord } from "@blixard/protocol";
import type { ProgressStatus } from "@blixard/raft";
import type { NodeParts } from "../node-parts.ts";

type ReachabilityParts = Pick<NodeParts, "raft" | "transport" | "options">;

export function isReachable(parts: ReachabilityParts, nodeId: number): boolean {
  if (nodeId === parts.options.nodeId) return true;
  const session = parts.transport.sessions().find((candidate) => candidate.nodeId === nodeId);
  const lastContactMs = session?.lastContactMs ?? Number.POSITIVE_INFINITY;
  // One sign of life is enough: Raft forgets `recentActive` within an election timeout, so a dead node has neither.
  return lastContactMs <= parts.options.reachableWithinMs || (progressOf(parts, nodeId)?.recentActive ?? false);
}

/** The leader's progress of a peer; undefined elsewhere and for nodes outside of the configuration. */
export function progressOf(parts: Pick<NodeParts, "raft">, nodeId: number): ProgressStatus | undefined {
  return parts.raft.coreStatus().progress.find((peer) => peer.id === nodeId);
}

/** Roles that vote. */
export function votes(node: Pick<NodeRecord, "role">): boolean {
  return node.role === "voter" || node.role === "witness";
}
