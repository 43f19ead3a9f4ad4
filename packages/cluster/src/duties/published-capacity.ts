/** The part of its capacity that a node publishes: the fields that every member of the cluster understands. */
import { type NodeCapacity, nodeCapacitySchema, withoutLaterFields } from "@blixard/protocol";

/** `level` is that of the cluster, or the base level in a request to nodes whose level is not known yet. */
export function publishedCapacity(capacity: NodeCapacity, level: number): NodeCapacity {
  return withoutLaterFields(nodeCapacitySchema, capacity, level);
}
