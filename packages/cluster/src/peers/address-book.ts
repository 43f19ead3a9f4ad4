/**
 * Where the members can be reached, from three sources: the replicated records, what members say of themselves, which
 * others pass on as it was signed (each node's own claim, newer with each of its starts), and hints that somebody found
 * on the network. Nothing here is trusted with more than a dial, which proves the key.
 */
import { firstAddresses, Watch } from "@blixard/common";
import { limits, type NodeRecord, understoodLevel } from "@blixard/protocol";
import type { ClusterEndpoint, ClusterPeer } from "../ports/cluster-transport.ts";
import { type AddressClaim, AddressClaims, type AddressClaimsDeps, signedClaimsLevel } from "./address-claims.ts";

/** Found addresses that are kept for one endpoint; the newest stay. */
const hintsPerEndpointMax = 4;
/** What a node claims never takes the place of this many addresses of its replicated record. */
const recordedAddressesMin = 4;
const claimedAddressesMax = limits.addressesPerNodeMax - hintsPerEndpointMax - recordedAddressesMin;

export interface AddressBookDeps extends AddressClaimsDeps {
  /** The replicated records, and those of the join answer that the state does not know yet. Only they are kept. */
  readonly members: () => Iterable<NodeRecord>;
}

export class AddressBook {
  readonly #deps: AddressBookDeps;
  readonly #claims: AddressClaims;
  readonly #hints = new Map<string, readonly string[]>();
  /** Counts changes. */
  readonly version = new Watch(0);

  constructor(deps: AddressBookDeps) {
    this.#deps = deps;
    this.#claims = new AddressClaims(deps);
  }

  /** What this node tells the member `to`: its own claim and the newest of each other member, as they were signed. */
  claimsFor(to: number): AddressClaim[] {
    const members = [...this.#deps.members()];
    const level = understoodLevel(members.find(({ id }) => id === to)?.featureLevel ?? signedClaimsLevel);
    const own = this.#claims.own();
    const others: AddressClaim[] = [];
    for (const record of members) {
      if (record.id === this.#deps.own.nodeId) continue;
      const claim = this.#claims.of(record);
      const { id, endpointId, addresses, starts = 0 } = record;
      if (level < signedClaimsLevel) {
        const known = { nodeId: id, endpointId, addresses, starts };
        others.push(unsigned(claim !== undefined && claim.starts >= starts ? claim : known));
      } else if (claim?.proof !== undefined) {
        others.push(claim);
      }
    }
    const said = own === undefined ? [] : [level < signedClaimsLevel ? unsigned(own) : own];
    return [...said, ...others].slice(0, limits.nodesMax);
  }

  /** Takes over what the member `from` said. Claims that are not news change nothing. */
  merge(claims: readonly AddressClaim[], from: number): void {
    if (this.#claims.take(claims, from, this.#byEndpoint())) this.#bump();
  }

  /** Takes over what a finder found. */
  hint(found: readonly ClusterEndpoint[]): void {
    const members = this.#byEndpoint();
    let changed = false;
    for (const { endpointId, addresses } of found) {
      if (!members.has(endpointId) || endpointId === this.#deps.own.endpointId) continue;
      const before = this.#hints.get(endpointId) ?? [];
      const after = [...new Set([...addresses, ...before])].slice(0, hintsPerEndpointMax);
      if (after.join() === before.join()) continue;
      this.#hints.set(endpointId, after);
      changed = true;
    }
    if (changed) this.#bump();
  }

  /** Where a member may be, the likeliest address first. */
  complete(peer: ClusterPeer): ClusterPeer {
    const { endpointId, start, addresses } = peer;
    const claim = start === undefined ? undefined : this.#claims.of({ endpointId, incarnation: start.incarnation });
    const isNews = claim !== undefined && claim.starts >= (start?.starts ?? 0);
    const claimed = isNews ? firstAddresses(claim.addresses, claimedAddressesMax) : [];
    const hinted = this.#hints.get(endpointId) ?? [];
    const all = new Set([...claimed, ...hinted, ...addresses, ...(isNews ? claim.addresses : [])]);
    return { ...peer, addresses: firstAddresses([...all], limits.addressesPerNodeMax) };
  }

  #byEndpoint(): Map<string, NodeRecord> {
    const members = new Map<string, NodeRecord>();
    for (const record of this.#deps.members()) members.set(record.endpointId, record);
    this.#claims.prune(members);
    for (const known of this.#hints.keys()) if (!members.has(known)) this.#hints.delete(known);
    return members;
  }

  #bump(): void {
    this.version.set(this.version.value + 1);
  }
}

/** Members below the level refuse a claim with a signature. */
function unsigned({ proof: _, ...claim }: AddressClaim): AddressClaim {
  return claim;
}
