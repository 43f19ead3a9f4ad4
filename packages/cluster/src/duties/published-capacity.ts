/** What a node tells the cluster of its capacity, as long as not every member keeps all of it. */
import type { NodeCapacity, NodeRecord } from "@blixard/protocol";

/**
 * The feature level from which a member keeps `NodeCapacity.capabilities`. A member below it drops the field when it
 * applies the entry, so its replica of the state would differ from the others.
 */
const capabilitiesSince = 2;

/** `members`: all nodes of the replicated state. */
export function publishedCapacity(
  capacity: NodeCapacity,
  members: Iterable<Pick<NodeRecord, "featureLevel">>,
): NodeCapacity {
  for (const { featureLevel } of members) if (featureLevel < capabilitiesSince) return capacityOfLevelOne(capacity);
  return capacity;
}

/** What every release reads: for a request to nodes of which nothing is known yet. */
export function capacityOfLevelOne({ vcpus, memoryMiB, drivers }: NodeCapacity): NodeCapacity {
  return { vcpus, memoryMiB, drivers };
}
