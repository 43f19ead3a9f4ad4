/** What the keys of a node sign when the node changes from one to the other. */
import { fromUtf8 } from "@blixard/common";
import type { KeyChange } from "../api/node.ts";

/** Each begins the statements of one half of a rotation only, so that a signature is good for nothing else. */
const domains = { offer: "blixard/key-offer/1 ", use: "blixard/key-use/1 " } as const;

/**
 * `offer`: both keys say that the node may change to the next one, so that nobody offers a key that it does not hold.
 * `use`: the next key says that the node runs with it. The same bytes everywhere, and no two statements share theirs.
 */
export function keyChangeBytes(half: keyof typeof domains, clusterId: string, change: KeyChange): Uint8Array {
  const { nodeId, incarnation, number, endpointId, nextEndpointId } = change;
  return fromUtf8(domains[half] + JSON.stringify([clusterId, nodeId, incarnation, number, endpointId, nextEndpointId]));
}
