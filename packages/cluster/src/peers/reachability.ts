/** Which nodes the leader heard from lately: through the Raft progress, and through the transport's own heartbeats. */
import type { NodeRecord } from "@blixard/protocol";
import type { ProgressStatus } from "@blixard/raft";
import type { ServiceContext } from "../services/service-context.ts";

type ReachabilityContext = Pick<ServiceContext, "raft" | "transport" | "options">;

export function isReachable(context: ReachabilityContext, nodeId: number): boolean {
  if (nodeId === context.options.nodeId) return true;
  const session = context.transport.sessions().find((candidate) => candidate.nodeId === nodeId);
  const lastContactMs = session?.lastContactMs ?? Number.POSITIVE_INFINITY;
  // One sign of life is enough: Raft forgets `recentActive` within an election timeout, so a dead node has neither.
  return lastContactMs <= context.options.reachableWithinMs || (progressOf(context, nodeId)?.recentActive ?? false);
}

/** The leader's progress of a peer; undefined elsewhere and for nodes outside of the configuration. */
export function progressOf(context: Pick<ServiceContext, "raft">, nodeId: number): ProgressStatus | undefined {
  return context.raft.coreStatus().progress.find((peer) => peer.id === nodeId);
}

/** Roles that vote. */
export function votes(node: Pick<NodeRecord, "role">): boolean {
  return node.role === "voter" || node.role === "witness";
}
