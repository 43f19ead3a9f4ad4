/**
 * Linearizable reads (thesis section 6.4). Reads that arrive while one round trip to the leader is under way share the
 * next one. Requests and answers can be lost, so a round is repeated, under a new id, until it is answered.
 */
import { abortReason, BlixardError, offAbort, onAbort, type Random, toHex } from "@blixard/common";
import type { LogIndex, ReadState } from "../core/types.ts";

interface Waiter {
  readonly resolve: (index: LogIndex) => void;
  readonly reject: (error: Error) => void;
  /** Set only for a read without a signal, whose wait the node itself bounds. */
  readonly expiresAtMs: number | undefined;
  settled: boolean;
  forget: () => void;
}

interface Round {
  readonly ids: Set<string>;
  readonly waiters: Waiter[];
  sentAtMs: number;
}

export interface ReadBatcherDeps {
  readonly random: Random;
  readonly nowMs: () => number;
  /**
   * False while this node leads and has not applied an entry of its term. The core of an only voter answers at once
   * with its commit index, which after a restart may be behind what it acknowledged before.
   */
  readonly canRequest: () => boolean;
  /** Starts a round in the core; called by the owner's loop only. */
  readonly request: (context: Uint8Array) => void;
  /** A round begins at this node; `onConfirmed` may end it. */
  readonly onStart: () => void;
  /** The round was answered. */
  readonly onConfirmed: () => void;
}

export interface ReadBatcherOptions {
  readonly retryMs: number;
  readonly timeoutMs: number;
  readonly waitersMax: number;
}

/** Ids of one round that are remembered, so that a late answer still counts. */
const idsPerRoundMax = 16;

export class ReadBatcher {
  readonly #deps: ReadBatcherDeps;
  readonly #options: ReadBatcherOptions;
  /** Makes the ids of this run differ from those of earlier runs. */
  readonly #prefix: Uint8Array;
  #sequence = 0;
  #waiting: Waiter[] = [];
  #round: Round | undefined;
  #confirmed: { readonly index: LogIndex; readonly waiters: readonly Waiter[] }[] = [];
  #count = 0;

  constructor(deps: ReadBatcherDeps, options: ReadBatcherOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#prefix = deps.random.bytes(8);
  }

  /** Reads that wait. */
  get count(): number {
    return this.#count;
  }

  /** Adds a read. Without `index` a round has to confirm one; with it the read only waits until it is applied. */
  add(signal: AbortSignal | undefined, index?: LogIndex): Promise<LogIndex> {
    if (signal?.aborted) return Promise.reject(abortReason(signal));
    if (this.#count >= this.#options.waitersMax) {
      return Promise.reject(new BlixardError("OVERLOADED", `${this.#count} reads are waiting already`));
    }
    return new Promise((resolve, reject) => {
      const expiresAtMs = signal === undefined ? this.#deps.nowMs() + this.#options.timeoutMs : undefined;
      const waiter: Waiter = { resolve, reject, expiresAtMs, settled: false, forget: () => {} };
      if (signal !== undefined) {
        const abort = () => this.#reject(waiter, abortReason(signal));
        onAbort(signal, abort);
        waiter.forget = () => offAbort(signal, abort);
      }
      this.#count++;
      if (index === undefined) this.#waiting.push(waiter);
      else this.#confirmed.push({ index, waiters: [waiter] });
    });
  }

  /** Starts a round when reads wait and none is under way. */
  start(): void {
    if (this.#round !== undefined || this.#waiting.length === 0 || !this.#deps.canRequest()) return;
    const waiters = this.#waiting.filter(({ settled }) => !settled);
    this.#waiting = [];
    if (waiters.length === 0) return;
    this.#round = { ids: new Set(), waiters, sentAtMs: 0 };
    this.#deps.onStart();
    this.#send(this.#round);
  }

  #send(round: Round): void {
    const context = new Uint8Array(16);
    context.set(this.#prefix);
    this.#sequence++;
    new DataView(context.buffer).setBigUint64(8, BigInt(this.#sequence));
    const [oldest] = round.ids;
    if (round.ids.size >= idsPerRoundMax && oldest !== undefined) round.ids.delete(oldest);
    round.ids.add(toHex(context));
    round.sentAtMs = this.#deps.nowMs();
    this.#deps.request(context);
  }

  confirm(states: readonly ReadState[]): void {
    for (const { index, context } of states) {
      const round = this.#round;
      if (round === undefined || !round.ids.has(toHex(context))) continue;
      this.#round = undefined;
      this.#deps.onConfirmed();
      this.#confirmed.push({ index, waiters: round.waiters });
    }
  }

  /** Resolves the reads whose index is applied. */
  applied(index: LogIndex): void {
    if (this.#confirmed.length === 0) return;
    const later = [];
    for (const read of this.#confirmed) {
      if (read.index > index) later.push(read);
      else for (const waiter of read.waiters) if (this.#settle(waiter)) waiter.resolve(read.index);
    }
    this.#confirmed = later;
  }

  /** Repeats a round that got no answer and ends the wait of reads that are too old. */
  tick(): void {
    if (this.#count === 0 && this.#round === undefined) return;
    const nowMs = this.#deps.nowMs();
    const { retryMs, timeoutMs } = this.#options;
    for (const waiters of [this.#waiting, this.#round?.waiters ?? [], ...this.#confirmed.map((read) => read.waiters)]) {
      for (const waiter of waiters) {
        if (waiter.expiresAtMs === undefined || waiter.expiresAtMs > nowMs) continue;
        this.#reject(waiter, new BlixardError("UNAVAILABLE", `no leader confirmed the read within ${timeoutMs} ms`));
      }
    }
    const round = this.#round;
    if (round === undefined) return;
    if (round.waiters.every(({ settled }) => settled)) this.#round = undefined;
    else if (nowMs - round.sentAtMs >= retryMs && this.#deps.canRequest()) this.#send(round);
  }

  /** A new leader is known, so the round is repeated now instead of at its retry. */
  leaderChanged(): void {
    if (this.#round !== undefined && this.#deps.canRequest()) this.#send(this.#round);
  }

  failAll(error: Error): void {
    const all = [...this.#waiting, ...(this.#round?.waiters ?? []), ...this.#confirmed.flatMap((read) => read.waiters)];
    this.#waiting = [];
    this.#round = undefined;
    this.#confirmed = [];
    for (const waiter of all) this.#reject(waiter, error);
  }

  #reject(waiter: Waiter, error: Error): void {
    if (this.#settle(waiter)) waiter.reject(error);
  }

  #settle(waiter: Waiter): boolean {
    if (waiter.settled) return false;
    waiter.settled = true;
    waiter.forget();
    this.#count--;
    return true;
  }
}
