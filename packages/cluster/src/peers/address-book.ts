/**
 * Where the members can be reached, from three sources: the replicated records, what members say of themselves and of
 * each other (each node's own claim, newer with each of its starts), and hints that somebody found on the network.
 * Nothing here is trusted with more than a dial, which proves the key.
 */
import { firstAddresses, Watch } from "@blixard/common";
import { limits, type NodeRecord, type ParsedRequestOf } from "@blixard/protocol";
import type { ResolvedClusterNodeOptions } from "../options.ts";
import type { ClusterEndpoint, ClusterPeer, ClusterTransport } from "../ports/cluster-transport.ts";

export type AddressClaim = ParsedRequestOf<"node.addresses">["claims"][number];

/** What this node says of itself, with the addresses that it has now. */
export type OwnClaim = Omit<AddressClaim, "addresses"> & { readonly addresses: () => readonly string[] };

export function createAddressBook(
  deps: {
    readonly transport: Pick<ClusterTransport, "endpointId">;
    readonly store?: { readonly starts: number };
  },
  options: Pick<ResolvedClusterNodeOptions, "nodeId" | "advertisedAddresses">,
  members: () => Iterable<NodeRecord>,
): AddressBook {
  const { nodeId, advertisedAddresses } = options;
  const { endpointId } = deps.transport;
  const own = { nodeId, endpointId, addresses: advertisedAddresses, starts: deps.store?.starts ?? 0 };
  return new AddressBook(own, members);
}

/** Found addresses that are kept for one endpoint; the newest stay. */
const hintsPerEndpointMax = 4;

export class AddressBook {
  readonly #own: OwnClaim;
  readonly #members: () => Iterable<NodeRecord>;
  readonly #claims = new Map<string, AddressClaim>();
  readonly #hints = new Map<string, readonly string[]>();
  /** Counts changes. */
  readonly version = new Watch(0);

  /** `members`: the replicated records. Only their endpoints are kept, which bounds the book. */
  constructor(own: OwnClaim, members: () => Iterable<NodeRecord>) {
    this.#own = own;
    this.#members = members;
  }

  /** What this node tells others: its own claim and the newest of each other member. */
  claims(): AddressClaim[] {
    const others: AddressClaim[] = [];
    for (const { id, endpointId, addresses, starts } of this.#members()) {
      if (endpointId === this.#own.endpointId) continue;
      const known: AddressClaim = { nodeId: id, endpointId, addresses, starts: starts ?? 0 };
      const claim = this.#claims.get(endpointId);
      others.push(claim !== undefined && claim.starts > known.starts ? claim : known);
    }
    return [{ ...this.#own, addresses: [...this.#own.addresses()] }, ...others].slice(0, limits.nodesMax);
  }

  /** Takes over what a member said. Claims for endpoints that are no members, and old ones, change nothing. */
  merge(claims: readonly AddressClaim[]): void {
    const members = this.#byEndpoint();
    let changed = false;
    for (const claim of claims) {
      const record = members.get(claim.endpointId);
      if (record === undefined || record.id !== claim.nodeId || claim.endpointId === this.#own.endpointId) continue;
      const newest = Math.max(record.starts ?? 0, this.#claims.get(claim.endpointId)?.starts ?? 0);
      if (claim.starts <= newest) continue;
      this.#claims.set(claim.endpointId, claim);
      changed = true;
    }
    if (changed) this.#bump();
  }

  /** Takes over what a finder found. */
  hint(found: readonly ClusterEndpoint[]): void {
    const members = this.#byEndpoint();
    let changed = false;
    for (const { endpointId, addresses } of found) {
      if (!members.has(endpointId) || endpointId === this.#own.endpointId) continue;
      const before = this.#hints.get(endpointId) ?? [];
      const after = [...new Set([...addresses, ...before])].slice(0, hintsPerEndpointMax);
      if (after.join() === before.join()) continue;
      this.#hints.set(endpointId, after);
      changed = true;
    }
    if (changed) this.#bump();
  }

  /** The peer with every address that may be right, the likeliest first. */
  complete(peer: ClusterPeer, starts: number): ClusterPeer {
    const claim = this.#claims.get(peer.endpointId);
    const claimed = claim !== undefined && claim.starts > starts ? claim.addresses : [];
    const all = new Set([...claimed, ...(this.#hints.get(peer.endpointId) ?? []), ...peer.addresses]);
    return { ...peer, addresses: firstAddresses([...all], limits.addressesPerNodeMax) };
  }

  #byEndpoint(): Map<string, NodeRecord> {
    const members = new Map<string, NodeRecord>();
    for (const record of this.#members()) members.set(record.endpointId, record);
    for (const known of [...this.#claims.keys(), ...this.#hints.keys()]) {
      if (members.has(known)) continue;
      this.#claims.delete(known);
      this.#hints.delete(known);
    }
    return members;
  }

  #bump(): void {
    this.version.set(this.version.value + 1);
  }
}
