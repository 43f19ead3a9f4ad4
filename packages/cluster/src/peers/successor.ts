/** Who could lead next. */
import type { NodeParts } from "../node-parts.ts";
import { nodeKey } from "../state-machine/state.ts";
import { isReachable } from "./reachability.ts";

/** The voter with the most of the log among those that answer; a witness only when there is no other. */
export function bestSuccessor(
  parts: Pick<NodeParts, "options" | "raft" | "transport" | "stateMachine">,
): number | undefined {
  const { nodes, banned } = parts.stateMachine.state;
  const isBanned = (id: number) => banned.has(nodes.get(nodeKey(id))?.endpointId ?? "");
  const candidates = parts.raft
    .coreStatus()
    .progress.filter(
      ({ id, learner }) => id !== parts.options.nodeId && !learner && !isBanned(id) && isReachable(parts, id),
    );
  const isWitness = (id: number) => Number(nodes.get(nodeKey(id))?.role === "witness");
  return candidates.sort((a, b) => isWitness(a.id) - isWitness(b.id) || b.match - a.match || a.id - b.id)[0]?.id;
}
