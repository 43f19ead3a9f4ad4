/** The member list for the transport. */
import type { NodeRecord } from "@blixard/protocol";
import type { ClusterPeer } from "../ports/cluster-transport.ts";

/** All nodes but this one. */
export function peersOf(nodes: readonly NodeRecord[], selfId: number): ClusterPeer[] {
  return nodes
    .filter((node) => node.id !== selfId)
    .map(({ id, endpointId, addresses, incarnation, starts = 0 }) => {
      return { nodeId: id, endpointId, addresses, start: { incarnation, starts } };
    });
}
