/** Questions about a configuration. */
import type { ConfState, NodeId } from "../core/types.ts";

export function isMember({ voters, votersOutgoing, learners }: ConfState, id: NodeId): boolean {
  return voters.includes(id) || votersOutgoing.includes(id) || learners.includes(id);
}
