/** The lanes that the endpoint of a node speaks. */
import type { Lane } from "./transport-types.ts";

export const lanes = ["blixard/raft/1", "blixard/rpc/1"] as const satisfies readonly Lane[];

export type NodeLane = (typeof lanes)[number];

export function isLane(name: unknown): name is NodeLane {
  return lanes.some((lane) => lane === name);
}
