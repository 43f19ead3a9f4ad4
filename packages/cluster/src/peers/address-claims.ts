/**
 * What nodes claim of their own addresses. A claim is about the node that made it and carries the signature of its key,
 * so that anybody may pass it on and nobody can make it for another. A receiver holds it against its own state:
 *
 *     about this node, no member, of another incarnation, not newer -> left alone
 *     no signature, the cluster above the level of claims with one --> refused
 *     no signature, below that level, from the node itself ---------> taken
 *     signed by another key, or longer than a claim may be ---------> refused
 *
 * Claims are in order of incarnation, start and number. One with an absurd number of starts therefore ends with the
 * incarnation: when the node is admitted again, with a new key or an empty store. Until then it stands beside the
 * addresses of the replicated record, and takes their place nowhere.
 */
import { type Clock, firstAddresses, fromHex, type Logger, toHex } from "@blixard/common";
import {
  addressClaimBytes,
  claimedAddressesBytes,
  claimedAddressesBytesMax,
  limits,
  type NodeRecord,
  type ParsedRequestOf,
} from "@blixard/protocol";
import type { ClusterMetrics } from "../metrics.ts";
import type { NodeSignatures } from "../ports/node-signatures.ts";

export type AddressClaim = ParsedRequestOf<"node.addresses">["claims"][number];

/** The feature level from which on claims are signed. */
export const signedClaimsLevel = 3;

/** This node, as it is now. */
export interface OwnClaim {
  readonly nodeId: number;
  readonly endpointId: string;
  readonly starts: number;
  /** The cluster id is empty until the node has one. */
  readonly identity: () => { readonly clusterId: string; readonly incarnation: number };
  readonly addresses: () => readonly string[];
}

export interface AddressClaimsDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signatures: NodeSignatures;
  readonly metrics: Pick<ClusterMetrics, "refusedAddressClaims">;
  readonly own: OwnClaim;
  readonly clusterLevel: () => number;
}

/** A claim that was held against the state of this node. */
interface Kept {
  readonly claim: AddressClaim;
  readonly incarnation: number;
  readonly sequence: number;
  readonly takenAtMs: number;
}

type Refusal = "unsigned" | "forged" | "oversized";

/** A node that claims something new with each call would make the others work: the rest comes with a later exchange. */
const claimIntervalMs = 1_000;
/** Refused claims are counted one by one, and logged so seldom. */
const logIntervalMs = 10_000;

export class AddressClaims {
  readonly #deps: AddressClaimsDeps;
  readonly #kept = new Map<string, Kept>();
  #own: { readonly signed: string; readonly claim: AddressClaim } | undefined;
  #sequence = 0;
  #loggedAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: AddressClaimsDeps) {
    this.#deps = deps;
  }

  /** What this node says of itself, signed; undefined while it is in no cluster. */
  own(): AddressClaim | undefined {
    const { own, signatures } = this.#deps;
    const { clusterId, incarnation } = own.identity();
    if (clusterId === "") return undefined;
    const { nodeId, endpointId, starts } = own;
    const addresses = withinBytes(own.addresses());
    const signed = JSON.stringify([clusterId, incarnation, addresses]);
    if (this.#own?.signed === signed) return this.#own.claim;
    const sequence = ++this.#sequence;
    const statement = { clusterId, nodeId, endpointId, incarnation, starts, sequence, addresses };
    const signature = toHex(signatures.sign(addressClaimBytes(statement)));
    const claim = {
      nodeId,
      endpointId,
      addresses: [...addresses],
      starts,
      proof: { incarnation, sequence, signature },
    };
    this.#own = { signed, claim };
    return claim;
  }

  /** The newest claim of a member; undefined when none is known that is of its present incarnation. */
  of({ endpointId, incarnation }: Pick<NodeRecord, "endpointId" | "incarnation">): AddressClaim | undefined {
    const kept = this.#kept.get(endpointId);
    return kept?.incarnation === incarnation ? kept.claim : undefined;
  }

  /** Takes over the newer of the claims that node `from` has sent. Returns whether there were any. */
  take(claims: readonly AddressClaim[], from: number, members: ReadonlyMap<string, NodeRecord>): boolean {
    const nowMs = this.#deps.clock.monotonicMs();
    let changed = false;
    for (const claim of claims) {
      const record = members.get(claim.endpointId);
      if (record === undefined || record.id !== claim.nodeId || claim.nodeId === this.#deps.own.nodeId) continue;
      const { incarnation = record.incarnation, sequence = 0 } = claim.proof ?? {};
      const kept = { claim, incarnation, sequence, takenAtMs: nowMs };
      if (incarnation !== record.incarnation || !this.#isNews(kept, record)) continue;
      const refusal = this.#refusalOf(claim, from);
      if (refusal !== undefined) {
        this.#refuse(refusal, claim, from, [...members.values()]);
        // Whoever passes claims on has verified them: one that is forged speaks against all that came with it.
        if (refusal !== "unsigned") return changed;
        continue;
      }
      this.#kept.set(claim.endpointId, kept);
      changed = true;
    }
    return changed;
  }

  /** Forgets those that are no members. */
  prune(members: ReadonlyMap<string, NodeRecord>): void {
    for (const endpointId of this.#kept.keys()) if (!members.has(endpointId)) this.#kept.delete(endpointId);
  }

  #isNews(news: Kept, record: NodeRecord): boolean {
    // The record says as much as a claim of its start that has no number.
    if (news.claim.starts < (record.starts ?? 0)) return false;
    if (news.claim.proof === undefined && news.claim.starts === (record.starts ?? 0)) return false;
    const kept = this.#kept.get(news.claim.endpointId);
    if (kept === undefined || kept.incarnation !== news.incarnation) return true;
    const isLater =
      news.claim.starts > kept.claim.starts ||
      (news.claim.starts === kept.claim.starts && news.sequence > kept.sequence);
    return isLater && news.takenAtMs - kept.takenAtMs >= claimIntervalMs;
  }

  #refusalOf(claim: AddressClaim, from: number): Refusal | undefined {
    const { own, signatures, clusterLevel } = this.#deps;
    const { proof, ...said } = claim;
    if (claimedAddressesBytes(claim.addresses) > claimedAddressesBytesMax) return "oversized";
    if (proof === undefined) {
      return claim.nodeId === from && clusterLevel() < signedClaimsLevel ? undefined : "unsigned";
    }
    const { clusterId } = own.identity();
    const statement = addressClaimBytes({ ...said, ...proof, clusterId });
    const signature = fromHex(proof.signature) ?? new Uint8Array();
    return signatures.verify(claim.endpointId, statement, signature) ? undefined : "forged";
  }

  #refuse(reason: Refusal, claim: AddressClaim, from: number, members: readonly NodeRecord[]): void {
    const { clock, logger, metrics } = this.#deps;
    metrics.refusedAddressClaims.add(1, { reason, by: members.find(({ id }) => id === from)?.role ?? "unknown" });
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#loggedAtMs < logIntervalMs) return;
    this.#loggedAtMs = nowMs;
    // Members of an earlier release sign nothing.
    const level = reason === "unsigned" ? "debug" : "warn";
    logger.log(level, "a claim of addresses was refused", { reason, from, about: claim.nodeId });
  }
}

/** The first of the addresses that one claim has room for. */
function withinBytes(addresses: readonly string[]): readonly string[] {
  let first = firstAddresses(addresses, limits.addressesPerNodeMax);
  while (claimedAddressesBytes(first) > claimedAddressesBytesMax) first = firstAddresses(first, first.length - 1);
  return first;
}
