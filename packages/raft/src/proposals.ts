/**
 * What was proposed here and has no outcome yet.
 *
 *     waiting -> (core accepted) -> unplaced -> (Ready gave it an index) -> placed -> settled
 *
 * A placed proposal was applied when an entry of its index and term is applied, and provably was not when the entry
 * applied there has another term. Everything else that ends the wait makes the outcome unknown.
 */
import { abortReason, BlixardError } from "@blixard/common";
import {
  type ConfChange,
  type ConfState,
  type Entry,
  type LogIndex,
  type NodeId,
  noNode,
  type SoftState,
  type Term,
} from "./core/types.ts";
import type { Applied } from "./raft-node-types.ts";

export type ProposalPayload<Result> =
  | { readonly kind: "normal"; readonly data: Uint8Array; readonly resolve: (applied: Applied<Result>) => void }
  | { readonly kind: "confChange"; readonly change: ConfChange; readonly resolve: (confState: ConfState) => void };

export type Proposal<Result> = ProposalPayload<Result> & {
  readonly bytes: number;
  readonly reject: (error: Error) => void;
  /** Set where the caller gave up or got an outcome. */
  settled: boolean;
  term: Term | undefined;
  forget: () => void;
};

export interface ProposalLimits {
  readonly countMax: number;
  readonly bytesMax: number;
}

export class Proposals<Result> {
  readonly #limits: ProposalLimits;
  readonly #onOutcome: (outcome: string) => void;
  #waiting: Proposal<Result>[] = [];
  /** By the identity of the payload, which the core keeps. */
  readonly #unplaced = new Map<object, Proposal<Result>[]>();
  readonly #placed = new Map<LogIndex, Proposal<Result>[]>();
  #count = 0;
  #bytes = 0;

  constructor(limits: ProposalLimits, onOutcome: (outcome: string) => void) {
    this.#limits = limits;
    this.#onOutcome = onOutcome;
  }

  /** Proposals that the core accepted and that have no outcome. */
  get inFlight(): number {
    return this.#unplaced.size + this.#placed.size;
  }

  /** Queues a proposal for the loop. Refuses with OVERLOADED beyond the limits, and when `signal` aborted. */
  add(
    payload: ProposalPayload<Result>,
    reject: (error: Error) => void,
    signal: AbortSignal | undefined,
  ): Proposal<Result> | undefined {
    const bytes = payload.kind === "normal" ? payload.data.length : 64;
    if (signal?.aborted) {
      reject(abortReason(signal));
      return undefined;
    }
    if (this.#count >= this.#limits.countMax || this.#bytes + bytes > this.#limits.bytesMax) {
      this.#onOutcome("OVERLOADED");
      reject(
        new BlixardError("OVERLOADED", `${this.#count} proposals are waiting already`, {
          outcome: "not_applied",
          hint: "Send fewer requests at a time, or wait and try again.",
        }),
      );
      return undefined;
    }
    const proposal: Proposal<Result> = { ...payload, bytes, reject, settled: false, term: undefined, forget: () => {} };
    if (signal !== undefined) {
      const abort = () => this.fail(proposal, abortReason(signal));
      signal.addEventListener("abort", abort, { once: true });
      proposal.forget = () => signal.removeEventListener("abort", abort);
    }
    this.#count++;
    this.#bytes += bytes;
    this.#waiting.push(proposal);
    return proposal;
  }

  takeWaiting(): readonly Proposal<Result>[] {
    const waiting = this.#waiting.filter(({ settled }) => !settled);
    this.#waiting = [];
    return waiting;
  }

  /** The core took it; the next Ready tells where it stands. */
  accepted(proposal: Proposal<Result>): void {
    const identity = proposal.kind === "normal" ? proposal.data : proposal.change;
    const same = this.#unplaced.get(identity);
    if (same === undefined) this.#unplaced.set(identity, [proposal]);
    else same.push(proposal);
  }

  /** Notes the index and term of the proposals among newly appended entries. */
  place(entries: readonly Entry[]): void {
    if (this.#unplaced.size === 0) return;
    for (const entry of entries) {
      const identity = entry.kind === "normal" ? entry.data : entry.change;
      const same = this.#unplaced.get(identity);
      const proposal = same?.shift();
      if (same === undefined || proposal === undefined) continue;
      if (same.length === 0) this.#unplaced.delete(identity);
      proposal.term = entry.term;
      const there = this.#placed.get(entry.index);
      if (there === undefined) this.#placed.set(entry.index, [proposal]);
      else there.push(proposal);
    }
  }

  /** Settles what was proposed at the index of an applied entry. */
  applied(entry: Entry, result: Result | undefined, confState: ConfState, refusal: Error | undefined): void {
    const there = this.#placed.get(entry.index);
    if (there === undefined) return;
    this.#placed.delete(entry.index);
    for (const proposal of there) {
      if (proposal.term !== entry.term) this.fail(proposal, overwritten(entry.index));
      else if (refusal !== undefined) this.fail(proposal, refusal);
      else if (this.#settle(proposal, "applied")) {
        const { index, term } = entry;
        if (proposal.kind === "confChange") proposal.resolve(confState);
        else proposal.resolve({ index, term, result: result as Result });
      }
    }
  }

  /** A snapshot took the place of the entries up to `index`: whether ours were among them cannot be told. */
  skippedTo(index: LogIndex): void {
    for (const [at, there] of this.#placed) {
      if (at > index) continue;
      this.#placed.delete(at);
      for (const proposal of there) this.fail(proposal, outcomeUnknown("a snapshot replaced the entries", undefined));
    }
  }

  /** True while something that the core accepted waits for its outcome. */
  get hasInFlight(): boolean {
    return this.#unplaced.size > 0 || this.#placed.size > 0;
  }

  /** Ends the wait of everything that the core accepted. */
  failInFlight(error: Error): void {
    const all = [...this.#unplaced.values(), ...this.#placed.values()].flat();
    this.#unplaced.clear();
    this.#placed.clear();
    for (const proposal of all) this.fail(proposal, error);
  }

  /** Ends everything: what the core never saw was not applied, the rest is unknown. */
  failAll(code: string, message: string, cause?: unknown): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const proposal of waiting) {
      this.fail(proposal, new BlixardError(code, message, { cause, outcome: "not_applied" }));
    }
    this.failInFlight(new BlixardError(code, message, { cause, outcome: "unknown" }));
  }

  fail(proposal: Proposal<Result>, error: Error): void {
    if (this.#settle(proposal, (error as { code?: string }).code ?? "INTERNAL")) proposal.reject(error);
  }

  #settle(proposal: Proposal<Result>, outcome: string): boolean {
    if (proposal.settled) return false;
    proposal.settled = true;
    proposal.forget();
    this.#count--;
    this.#bytes -= proposal.bytes;
    this.#onOutcome(outcome);
    return true;
  }
}

export function notLeader(leaderId: NodeId): BlixardError {
  const where = leaderId === 0 ? "no leader is known" : `node ${leaderId} leads`;
  return new BlixardError("NOT_LEADER", `this node does not lead; ${where}`, {
    outcome: "not_applied",
    details: { leaderId },
  });
}

/** The error for a proposal that the core dropped for `reason`. */
export function dropped(reason: string | undefined, { role, lead }: SoftState): BlixardError {
  const outcome = "not_applied";
  if (reason === "transferring") {
    return new BlixardError("PROPOSAL_DROPPED", "leadership is being handed over", { outcome });
  }
  if (reason === "uncommitted_limit") {
    return new BlixardError("OVERLOADED", "too many bytes are not committed yet", { outcome });
  }
  return notLeader(role === "StateLeader" ? noNode : lead);
}

export function changeRefused(reason: string): BlixardError {
  const message = `the configuration change is refused: ${reason.replaceAll("_", " ")}`;
  return new BlixardError("CONFLICT", message, { outcome: "not_applied" });
}

export function outcomeUnknown(reason: string, leaderId: NodeId | undefined): BlixardError {
  return new BlixardError("OUTCOME_UNKNOWN", `${reason} before the proposal was applied here`, {
    outcome: "unknown",
    hint: "Send the same request id again: it is applied at most once.",
    ...(leaderId === undefined ? {} : { details: { leaderId } }),
  });
}

function overwritten(index: LogIndex): BlixardError {
  return new BlixardError("PROPOSAL_DROPPED", `another leader put its own entry at ${index}`, {
    outcome: "not_applied",
  });
}
