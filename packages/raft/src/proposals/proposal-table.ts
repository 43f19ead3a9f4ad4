/**
 * The proposals made here that have no outcome yet.
 *
 *     waiting -> (the core took it) -> placed -> settled
 *        |-> (sent to the leader) -> unplaced -> (the leader says where) -> placed -> settled
 *
 * A placed proposal is applied when the entry with its index and term is applied here. It is certainly not applied when
 * the entry applied at its index, or at any lower one, has a later term: terms never fall along a log. Every other end
 * of the wait leaves the outcome unknown.
 */
import { abortReason, BlixardError, type ErrorCode, errorCodeOf, notApplied, offAbort, onAbort } from "@blixard/common";
import type { ConfChange, ConfState, Entry, LogIndex, Term } from "../core/types.ts";
import type { Applied } from "../raft-node-types.ts";
import { outcomeUnknown, overloaded, overwritten } from "./proposal-errors.ts";

/** Results of applied entries that are kept while the leader's answer to a forwarded proposal is awaited. */
const recentResultsMax = 4_096;

export type ProposalPayload<Result> =
  | { readonly kind: "normal"; readonly data: Uint8Array; readonly resolve: (applied: Applied<Result>) => void }
  | { readonly kind: "confChange"; readonly change: ConfChange; readonly resolve: (confState: ConfState) => void };

export type Proposal<Result> = ProposalPayload<Result> & {
  readonly bytes: number;
  /** Carry a configuration change out although it may cost the quorum. */
  readonly force: boolean;
  readonly startedAtMs: number;
  readonly reject: (error: Error) => void;
  /** True when the caller gave up or got an outcome. */
  settled: boolean;
  term: Term | undefined;
  /** Its place, once that is known. */
  index: LogIndex | undefined;
  forget: () => void;
};

export interface ProposalLimits {
  readonly countMax: number;
  readonly bytesMax: number;
}

/** What became of a configuration change that was committed. */
export interface AppliedChange {
  /** The configuration after it. */
  readonly confState: ConfState;
  /** Set where it cannot be carried out, on every node alike. */
  readonly refusal: Error | undefined;
}

/** Entries that were applied together, in their order. */
export interface AppliedBatch<Result> {
  readonly entries: readonly Entry[];
  /** One for each entry. */
  readonly results: readonly (Result | undefined)[];
  /** By the index of the entry. */
  readonly changes: ReadonlyMap<LogIndex, AppliedChange>;
}

/** What became of one applied entry. */
interface Outcome<Result> {
  readonly index: LogIndex;
  readonly term: Term;
  readonly result: Result | undefined;
  readonly change: AppliedChange | undefined;
}

export interface ProposalHooks {
  readonly nowMs: () => number;
  readonly onOutcome: (outcome: string, durationMs: number) => void;
}

const nothing = () => {};

export class ProposalTable<Result> {
  readonly #limits: ProposalLimits;
  readonly #hooks: ProposalHooks;
  #waiting: Proposal<Result>[] = [];
  /** Proposals sent to a leader that has not answered where they stand. */
  readonly #unplaced = new Set<Proposal<Result>>();
  /** Sorted by index: a leader places its own proposals in that order, and they are settled in it. */
  #placed: Proposal<Result>[] = [];
  #applied: { readonly index: LogIndex; readonly term: Term };
  /** Results of entries that were applied before the leader answered where a forwarded proposal stands. */
  readonly #recent = new Map<LogIndex, Outcome<Result>>();
  #keepsRecent = false;
  #count = 0;
  #bytes = 0;

  constructor(limits: ProposalLimits, hooks: ProposalHooks) {
    this.#limits = limits;
    this.#hooks = hooks;
    this.#applied = { index: 0 as LogIndex, term: 0 as Term };
  }

  /** Proposals that wait for their outcome. */
  get count(): number {
    return this.#count;
  }

  /** Queues a proposal for the loop. Refuses with OVERLOADED beyond the limits, and when `signal` aborted. */
  add(
    payload: ProposalPayload<Result>,
    reject: (error: Error) => void,
    options: { readonly signal?: AbortSignal; readonly force?: boolean },
  ): Proposal<Result> | undefined {
    const { signal, force = false } = options;
    const bytes = payload.kind === "normal" ? payload.data.length : 64;
    if (signal?.aborted) {
      reject(abortReason(signal));
      return undefined;
    }
    if (this.#count >= this.#limits.countMax || this.#bytes + bytes > this.#limits.bytesMax) {
      this.#hooks.onOutcome("OVERLOADED", 0);
      reject(overloaded(`${this.#count} proposals are waiting already`));
      return undefined;
    }
    const startedAtMs = this.#hooks.nowMs();
    // A normal proposal is written out in full: a spread costs more than everything else that is done here for one.
    const proposal: Proposal<Result> =
      payload.kind === "normal"
        ? {
            kind: "normal",
            data: payload.data,
            resolve: payload.resolve,
            bytes,
            force,
            reject,
            startedAtMs,
            settled: false,
            term: undefined,
            index: undefined,
            forget: nothing,
          }
        : {
            ...payload,
            ...{ bytes, force, reject, startedAtMs },
            ...{ settled: false, term: undefined, index: undefined, forget: nothing },
          };
    if (signal !== undefined) {
      const abort = () => this.fail(proposal, abortReason(signal));
      onAbort(signal, abort);
      proposal.forget = () => offAbort(signal, abort);
    }
    this.#count++;
    this.#bytes += bytes;
    this.#waiting.push(proposal);
    return proposal;
  }

  /** Whether a proposal waits for the loop. */
  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  takeWaiting(): readonly Proposal<Result>[] {
    if (this.#waiting.length === 0) return this.#waiting;
    const waiting = this.#waiting.filter(({ settled }) => !settled);
    this.#waiting = [];
    return waiting;
  }

  /** It is on its way to the leader of `term`: from now on it may be applied. */
  accepted(proposal: Proposal<Result>, term: Term): void {
    proposal.term = term;
    this.#unplaced.add(proposal);
  }

  /** It stands at `index` of the log, unless another leader puts its own entry there. */
  place(proposal: Proposal<Result>, index: LogIndex, term: Term): void {
    this.#unplaced.delete(proposal);
    if (proposal.settled) return;
    proposal.index = index;
    proposal.term = term;
    if (index <= this.#applied.index) {
      const outcome = this.#recent.get(index);
      if (outcome !== undefined) this.#conclude(proposal, outcome, this.#hooks.nowMs());
      else this.fail(proposal, outcomeUnknown("the leader's answer came too late", undefined));
      return;
    }
    if (this.#applied.term > term) {
      this.fail(proposal, overwritten(index));
      return;
    }
    let at = this.#placed.length;
    while (at > 0 && indexOf(this.#placed[at - 1]) > index) at--;
    if (at === this.#placed.length) this.#placed.push(proposal);
    else this.#placed.splice(at, 0, proposal);
  }

  /** Whether the results of applied entries are kept for proposals whose place is not known yet. */
  keepRecent(keep: boolean): void {
    this.#keepsRecent = keep;
    if (!keep) this.#recent.clear();
  }

  /** Settles the proposals at the indexes of applied entries, and those that the entries' terms rule out. */
  applied({ entries, results, changes }: AppliedBatch<Result>): void {
    const nowMs = this.#hooks.nowMs();
    let done = 0;
    for (let at = 0; at < entries.length; at++) {
      const { index, term } = entries[at] as Entry;
      const newTerm = term > this.#applied.term;
      this.#applied = { index, term };
      const isPlace = indexOf(this.#placed[done]) <= index;
      if (isPlace || this.#keepsRecent) {
        const outcome = { index, term, result: results[at], change: changes.get(index) };
        if (this.#keepsRecent) this.#remember(outcome);
        for (; indexOf(this.#placed[done]) <= index; done++) {
          this.#conclude(this.#placed[done] as Proposal<Result>, outcome, nowMs);
        }
      }
      if (newTerm) this.#dropOlderThan(term);
    }
    if (done > 0) this.#placed = this.#placed.slice(done);
  }

  #conclude(proposal: Proposal<Result>, { index, term, result, change }: Outcome<Result>, nowMs: number): void {
    if (proposal.term !== term) this.fail(proposal, overwritten(index));
    else if (change?.refusal !== undefined) this.fail(proposal, change.refusal);
    else if (this.#settle(proposal, "applied", nowMs)) {
      if (proposal.kind === "normal") proposal.resolve({ index, term, result: result as Result });
      else if (change !== undefined) proposal.resolve(change.confState);
    }
  }

  #remember(outcome: Outcome<Result>): void {
    this.#recent.set(outcome.index, outcome);
    if (this.#recent.size <= recentResultsMax) return;
    const [oldest] = this.#recent.keys();
    if (oldest !== undefined) this.#recent.delete(oldest);
  }

  /** No entry of an earlier term can follow an applied one of `term`. */
  #dropOlderThan(term: Term): void {
    for (const proposal of this.#placed) {
      if (termOf(proposal, term) < term) this.fail(proposal, overwritten(indexOf(proposal)));
    }
  }

  /** A snapshot replaced the entries up to `index`: nobody can tell whether proposals of this node were among them. */
  skippedTo(index: LogIndex, term: Term): void {
    if (index > this.#applied.index) this.#applied = { index, term };
    const there = this.#placed.filter((proposal) => indexOf(proposal) <= index);
    this.#placed = this.#placed.slice(there.length);
    for (const proposal of there) this.fail(proposal, outcomeUnknown("a snapshot replaced the entries", undefined));
    this.#dropOlderThan(term);
  }

  /** Ends the wait of proposals given to leaders before `term`, or, with `all`, of all that may be in a log. */
  failLost(term: Term, all: boolean, makeError: () => Error): void {
    const inFlight = [...this.#unplaced, ...this.#placed];
    const lost = inFlight.filter((proposal) => !proposal.settled && (all || termOf(proposal, term) < term));
    if (lost.length === 0) return;
    const error = makeError();
    for (const proposal of lost) this.fail(proposal, error);
  }

  /** Ends the wait of all proposals that may be in a log. */
  failInFlight(error: Error): void {
    const all = [...this.#unplaced, ...this.#placed];
    this.#unplaced.clear();
    this.#placed = [];
    for (const proposal of all) this.fail(proposal, error);
  }

  /** Ends all waits. Proposals that the core never saw are not applied; the outcome of the others is unknown. */
  failAll(code: ErrorCode, message: string, cause?: unknown): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const proposal of waiting) {
      this.fail(proposal, notApplied(code, message, { cause }));
    }
    this.failInFlight(new BlixardError(code, message, { cause, outcome: "unknown" }));
  }

  fail(proposal: Proposal<Result>, error: Error): void {
    this.#unplaced.delete(proposal);
    const outcome = errorCodeOf(error) ?? "INTERNAL";
    if (this.#settle(proposal, outcome, this.#hooks.nowMs())) proposal.reject(error);
  }

  #settle(proposal: Proposal<Result>, outcome: string, nowMs: number): boolean {
    if (proposal.settled) return false;
    proposal.settled = true;
    proposal.forget();
    this.#count--;
    this.#bytes -= proposal.bytes;
    this.#hooks.onOutcome(outcome, nowMs - proposal.startedAtMs);
    return true;
  }
}

/** The index of a proposal; larger than any while its index is not known, or when there is no proposal. */
function indexOf<Result>(proposal: Proposal<Result> | undefined): LogIndex {
  return proposal?.index ?? (Number.MAX_SAFE_INTEGER as LogIndex);
}

function termOf<Result>({ term }: Proposal<Result>, unknown: Term): Term {
  return term ?? unknown;
}
