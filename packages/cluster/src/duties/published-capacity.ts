/** What a node tells the cluster of its capacity: as much as every member keeps. */
import { type NodeCapacity, nodeCapacitySchema, withoutLaterFields } from "@blixard/protocol";

/** `level`: of the cluster, or the base level for a request to nodes of which nothing is known yet. */
export function publishedCapacity(capacity: NodeCapacity, level: number): NodeCapacity {
  return withoutLaterFields(nodeCapacitySchema, capacity, level);
}
