/**
 * The time in which no other node can lead, so that this leader may answer reads by itself. A quorum that answered a
 * heartbeat sent at `sentAtMs` elects no other node until an election timeout after it got that heartbeat. The lease is
 * shorter by one tick and by the drift that is allowed between clocks. Its times are those of a clock that goes on while
 * the machine sleeps: a leader that wakes up finds its lease expired, as the others do.
 */
import type { Term } from "../core/types.ts";

/** Clocks of two nodes may differ in speed by a tenth. */
const trustedShare = 0.9;

export class LeaderLease {
  readonly #durationMs: number;
  #term: Term | undefined;
  #untilMs = 0;
  #forfeitedTerm: Term | undefined;

  /** The first of the `electionTicks` that a follower counts may come right after the heartbeat. */
  constructor(electionTicks: number, tickIntervalMs: number) {
    this.#durationMs = (electionTicks - 1) * tickIntervalMs * trustedShare;
  }

  /** A quorum confirmed, in this term, a round that began at `sentAtMs`. */
  grant(term: Term, sentAtMs: number): void {
    if (term === this.#forfeitedTerm) return;
    const untilMs = sentAtMs + this.#durationMs;
    this.#untilMs = term === this.#term ? Math.max(this.#untilMs, untilMs) : untilMs;
    this.#term = term;
  }

  /** The voters changed: those of the new configuration have promised nothing yet. */
  interrupt(): void {
    this.#untilMs = 0;
  }

  /** A node may have been told to campaign at once, and that message may arrive at any time in this term. */
  forfeit(term: Term): void {
    this.#forfeitedTerm = term;
    this.#untilMs = 0;
  }

  holds(term: Term, nowMs: number): boolean {
    return term === this.#term && term !== this.#forfeitedTerm && nowMs < this.#untilMs;
  }
}
