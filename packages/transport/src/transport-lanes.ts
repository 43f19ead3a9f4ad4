/** The lanes that an endpoint speaks. */
import type { Lane } from "./transport-types.ts";

export const lanes = ["blixard/raft/1", "blixard/rpc/1"] as const satisfies readonly Lane[];

export function isLane(name: unknown): name is Lane {
  return lanes.some((lane) => lane === name);
}
