/** The member list for the transport. */
import type { NodeRecord } from "@blixard/protocol";
import type { ClusterPeer } from "../ports/cluster-transport.ts";

/** All nodes but this one. */
export function peersOf(nodes: readonly NodeRecord[], selfId: number): ClusterPeer[] {
  return nodes
    .filter((node) => node.id !== selfId)
    .map(({ id, endpointId, addresses, incarnation, starts = 0, nextKey }) => {
      const next = nextKey === undefined ? {} : { otherEndpointIds: [nextKey.endpointId] };
      return { nodeId: id, endpointId, addresses, start: { incarnation, starts }, ...next };
    });
}

/**
 * The record with the keys that the node had when the seed was made, where those are the newer ones: a state that is replayed
 * knows the keys of before, and would refuse the very node whose entries bring the others.
 */
export function withNewestKey(node: NodeRecord, seedNodes: readonly NodeRecord[]): NodeRecord {
  const seen = seedNodes.find(({ id, incarnation }) => id === node.id && incarnation === node.incarnation);
  if (seen === undefined) return node;
  const [numberHere, numberThere] = [node.keyNumber ?? 0, seen.keyNumber ?? 0];
  const isNewer = numberThere > numberHere || (numberThere === numberHere && node.nextKey === undefined);
  if (!isNewer) return node;
  const { keyNumber: _, nextKey: __, ...kept } = node;
  const { endpointId, keyNumber, nextKey } = seen;
  return {
    ...{ ...kept, endpointId },
    ...(keyNumber === undefined ? {} : { keyNumber }),
    ...(nextKey === undefined ? {} : { nextKey }),
  };
}
