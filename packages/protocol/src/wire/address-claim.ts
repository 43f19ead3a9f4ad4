/** What a node signs when it says where it can be reached. */
import { assertBelow, fromUtf8 } from "@blixard/common";
import { limits } from "../limits.ts";
import { serviceCallBytesMax } from "./service-call-codec.ts";

/** A claim of a node about itself: nobody else can make it. */
export interface SignedAddresses {
  readonly clusterId: string;
  readonly nodeId: number;
  /** The key that signs. */
  readonly endpointId: string;
  /** A node that was admitted again counts the rest from the beginning. */
  readonly incarnation: number;
  /** How often the store of the node was opened. */
  readonly starts: number;
  /** Counts the claims of one start, from 1. */
  readonly sequence: number;
  readonly addresses: readonly string[];
}

/** Only claims of addresses begin with it, so that a signature under one is good for nothing else. */
const domain = "blixard/address-claim/1 ";

/** Longest text of all addresses of one claim together. A message holds the claims of all members. */
export const claimedAddressesBytesMax = 2_048;
const claimOverheadBytes = 512;
const claimBytesMax = claimedAddressesBytesMax + claimOverheadBytes;
assertBelow(
  { "nodesMax * claimBytesMax": limits.nodesMax * claimBytesMax },
  { serviceCallBytesMax },
  "a message holds the claims of all members",
);

/** The same bytes for the same claim everywhere, and no two claims share theirs. */
export function addressClaimBytes(claim: SignedAddresses): Uint8Array {
  const { clusterId, nodeId, endpointId, incarnation, starts, sequence, addresses } = claim;
  return fromUtf8(
    domain + JSON.stringify([clusterId, nodeId, endpointId, incarnation, starts, sequence, [...addresses]]),
  );
}

/** The length of the addresses of a claim, against `claimedAddressesBytesMax`. */
export function claimedAddressesBytes(addresses: readonly string[]): number {
  return addresses.reduce((sum, address) => sum + fromUtf8(address).length, 0);
}
