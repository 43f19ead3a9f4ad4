/**
 * What members say of a newer start of this node: that another process has its key and began after it. The node ends when
 * a majority of the other voters say so. One member alone ends nobody, and what those say that do not vote counts for
 * nothing; whoever refuses this node as outdated does not talk with it in the meantime.
 */
import { BlixardError, type Clock, type Logger } from "@blixard/common";
import type { NodeRecord } from "@blixard/protocol";
import type { ClusterMetrics } from "../metrics.ts";
import { votes } from "./reachability.ts";

export interface NewerStartClaimsDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<ClusterMetrics, "memberClaims">;
  readonly nodeId: number;
  /** The other members that vote, as far as this node knows. */
  readonly otherVoters: () => ReadonlySet<number>;
  /** Called once. */
  readonly onReplaced: (error: BlixardError) => void;
}

/** A member that goes on to refuse this node says so again with each dial, several times a second. */
const claimMsMax = 30_000;

export class NewerStartClaims {
  readonly #deps: NewerStartClaimsDeps;
  readonly #claimedAtMs = new Map<number, number>();
  #isReplaced = false;

  constructor(deps: NewerStartClaimsDeps) {
    this.#deps = deps;
  }

  heard(by: number): void {
    const { clock, logger, metrics, otherVoters } = this.#deps;
    const voters = otherVoters();
    metrics.memberClaims.add(1, { claim: "newer_start", by: voters.has(by) ? "voter" : "other" });
    if (!voters.has(by)) return;
    const nowMs = clock.monotonicMs();
    if (!this.#claimedAtMs.has(by)) logger.log("warn", "a voter says that this node was started elsewhere", { by });
    this.#claimedAtMs.set(by, nowMs);
    for (const [id, atMs] of this.#claimedAtMs) {
      if (!voters.has(id) || nowMs - atMs > claimMsMax) this.#claimedAtMs.delete(id);
    }
    if (this.#isReplaced || this.#claimedAtMs.size < majorityOf(voters.size)) return;
    this.#isReplaced = true;
    this.#deps.onReplaced(this.#replaced());
  }

  #replaced(): BlixardError {
    const message = `node ${this.#deps.nodeId} was started elsewhere, with a copy of this key`;
    return new BlixardError("DUPLICATE_NODE", message, {
      hint: "Only one of the two may run. See which one with: blixard cluster members",
    });
  }
}

/** The ids of the nodes that vote, without `nodeId`. */
export function otherVoters(nodes: readonly NodeRecord[], nodeId: number): ReadonlySet<number> {
  return new Set(nodes.filter((node) => votes(node) && node.id !== nodeId).map(({ id }) => id));
}

/** How many of so many others have to say the same before it is believed. */
export function majorityOf(others: number): number {
  return Math.floor(others / 2) + 1;
}
