/** Answers reads of every consistency, and keeps the lease that lease reads need. */
import { abortReason, type Random } from "@blixard/common";
import type { RaftEvent } from "../core/events.ts";
import type { RaftCore } from "../core/raft-core.ts";
import type { HardState, LogIndex, Message, ReadState, Term } from "../core/types.ts";
import { type ResolvedOptions, ticksOf } from "../options.ts";
import type { AppliedState } from "../ports.ts";
import type { ReadOptions } from "../raft-node-types.ts";
import { LeaderLease } from "./leader-lease.ts";
import { ReadBatcher } from "./read-batcher.ts";

export interface ReadCoordinatorDeps {
  readonly core: RaftCore;
  readonly random: Random;
  /** How long a read waits, and when a question is repeated. */
  readonly nowMs: () => number;
  /** How long a lease is good. */
  readonly elapsedMs: () => number;
  readonly applied: () => AppliedState;
  readonly hardState: () => HardState;
  readonly onRead: (by: "quorum" | "lease" | "stale") => void;
}

export class ReadCoordinator {
  readonly #deps: ReadCoordinatorDeps;
  readonly #options: ResolvedOptions;
  readonly #indexer: ReadBatcher;
  readonly #lease: LeaderLease;
  /** This node does not vote before this time, because it may have promised a lease before it restarted. */
  readonly #votesFromMs: number;
  /** The term in which this node led when the present round began, and when that was. */
  #roundTerm: Term | undefined;
  #roundAtMs = 0;

  constructor(deps: ReadCoordinatorDeps, options: ResolvedOptions) {
    this.#deps = deps;
    this.#options = options;
    const { tickIntervalMs, readRetryMs, readTimeoutMs, readsInFlightMax } = options;
    const { electionTicks } = ticksOf(options);
    this.#lease = new LeaderLease(electionTicks, tickIntervalMs);
    const isNew = deps.applied().index === 0 && deps.core.status().term === 0;
    this.#votesFromMs = options.leaseReads && !isNew ? deps.nowMs() + electionTicks * tickIntervalMs : 0;
    this.#indexer = new ReadBatcher(
      {
        random: deps.random,
        nowMs: deps.nowMs,
        request: (context) => deps.core.readIndex(context),
        canRequest: () => {
          const term = this.#ledTerm();
          return term === undefined || deps.applied().term === term;
        },
        onStart: () => {
          this.#roundTerm = this.#ledTerm();
          this.#roundAtMs = deps.elapsedMs();
        },
        onConfirmed: () => {
          const term = this.#roundTerm;
          if (term !== undefined && term === this.#ledTerm()) this.#lease.grant(term, this.#roundAtMs);
        },
      },
      { retryMs: readRetryMs, timeoutMs: readTimeoutMs, waitersMax: readsInFlightMax },
    );
  }

  get count(): number {
    return this.#indexer.count;
  }

  /** Resolves once the local state is fresh enough; the owner then wakes its loop. */
  read({ consistency = "linearizable", signal }: ReadOptions): Promise<LogIndex> {
    const { onRead, applied, hardState } = this.#deps;
    if (consistency === "stale") {
      onRead("stale");
      return signal?.aborted ? Promise.reject(abortReason(signal)) : Promise.resolve(applied().index);
    }
    const byLease = consistency === "lease" && this.#holdsLease();
    onRead(byLease ? "lease" : "quorum");
    return this.#indexer.add(signal, byLease ? hardState().commit : undefined);
  }

  /** True while no other node can lead and this node's commit index covers everything that it acknowledged. */
  #holdsLease(): boolean {
    const { applied, hardState, elapsedMs } = this.#deps;
    const { term } = hardState();
    if (!this.#options.leaseReads || this.#ledTerm() !== term) return false;
    return applied().term === term && this.#lease.holds(term, elapsedMs());
  }

  #ledTerm(): Term | undefined {
    const { role, term } = this.#deps.core.basicStatus();
    return role === "StateLeader" ? term : undefined;
  }

  /** True for a request for a vote while this node may be bound by a lease that it promised. */
  forbids({ type }: Message): boolean {
    if (type !== "MsgVote" && type !== "MsgPreVote") return false;
    return this.#votesFromMs > 0 && this.#deps.nowMs() < this.#votesFromMs;
  }

  noteEvent({ type }: RaftEvent): void {
    if (type === "transferStarted") this.#lease.forfeit(this.#deps.core.status().term);
    else if (type === "configurationChanged" || type === "snapshotRestored") this.#lease.interrupt();
  }

  // The loop calls these.

  start(): void {
    this.#indexer.start();
  }

  confirm(states: readonly ReadState[]): void {
    this.#indexer.confirm(states);
  }

  applied(index: LogIndex): void {
    this.#indexer.applied(index);
  }

  tick(): void {
    this.#indexer.tick();
  }

  leaderChanged(): void {
    this.#indexer.leaderChanged();
  }

  failAll(error: Error): void {
    this.#indexer.failAll(error);
  }
}
