/**
 * Everything that touches the state machine, in one order: applying committed entries, taking snapshots of the state
 * and installing those of a leader.
 */
import { BlixardError, type Clock, errorCodeOf, type Logger, notApplied, toBlixardError } from "@blixard/common";
import type { ConfChange, ConfState, Entry, HardState, LogIndex, Message, Snapshot } from "../core/types.ts";
import type { RaftMetrics } from "../metrics.ts";
import type { RaftNodeEvent } from "../node-events.ts";
import type { ResolvedOptions } from "../options.ts";
import type { AppliedState, LogStore, SnapshotStore, StateMachine } from "../ports.ts";
import type { AppliedBatch, AppliedChange } from "../proposals/proposal-table.ts";
import { pacedChunks } from "../snapshots/paced-chunks.ts";
import { DiskWork, withProgress } from "./disk-watch.ts";
import { JobQueue } from "./job-queue.ts";
import type { LogCache } from "./log-cache.ts";
import { snapshotChunks } from "./recovery.ts";
import { StateWriter } from "./state-writer.ts";

export interface ApplierDeps<Result> {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly log: LogStore;
  readonly snapshots: SnapshotStore;
  readonly stateMachine: StateMachine<Result>;
  readonly cache: LogCache;
  readonly metrics: RaftMetrics;
  readonly applyConfChange: (change: ConfChange) => ConfState;
  readonly post: (task: () => void) => void;
  readonly onApplied: (batch: AppliedBatch<Result>, message: Message) => void;
  readonly onError: (error: unknown) => void;
  readonly onEvent: (event: RaftNodeEvent) => void;
  /** Whether the newest snapshot is being sent to a peer. A newer snapshot would end that transfer. */
  readonly isSending: () => boolean;
}

/** How many times longer than usual the log may grow while its snapshot is being sent. */
const sendingPatience = 4;
/** How many times `logBytesMax` the log may hold while a snapshot is being taken. */
const fullFactor = 6;
/** Snapshots in a row that may fail because the store of the state is damaged; it is made anew meanwhile. */
const damagedInRowMax = 3;

export class Applier<Result> {
  readonly #deps: ApplierDeps<Result>;
  readonly #options: ResolvedOptions;
  readonly #jobs: JobQueue;
  /** Writes of the state that are under way: transactions and flushes. */
  readonly writes: DiskWork;
  readonly #stateWriter: StateWriter;
  /** Snapshots that are being saved or restored. */
  readonly snapshotWork: DiskWork;
  #applied: AppliedState;
  #confIndex: LogIndex;
  #snapshotting: Promise<LogIndex> | undefined;
  #installing = false;
  #damagedInRow = 0;

  constructor(deps: ApplierDeps<Result>, options: ResolvedOptions, applied: AppliedState, confIndex: LogIndex) {
    this.#deps = deps;
    this.#options = options;
    this.#applied = applied;
    this.#confIndex = confIndex;
    this.#jobs = new JobQueue(deps.post, deps.onError);
    const nowMs = () => deps.clock.runnableMs();
    this.writes = new DiskWork(nowMs);
    this.snapshotWork = new DiskWork(nowMs);
    this.#stateWriter = new StateWriter(
      { backlog: deps.stateMachine.backlog, writes: this.writes, onError: deps.onError },
      options.stateBacklogBytesMax,
    );
    deps.snapshots.onDamaged?.(() => deps.post(() => this.replaceSnapshot()));
    // The one that the log was compacted behind may have been found damaged before this start.
    deps.post(() => this.#snapshotWhenDue());
  }

  get applied(): AppliedState {
    return this.#applied;
  }

  get confIndex(): LogIndex {
    return this.#confIndex;
  }

  /** True from the moment at which the core accepted a snapshot until it is installed. */
  get installing(): boolean {
    return this.#installing;
  }

  /** Applies the entries of a MsgStorageApply, when there is room for what they change. */
  apply(message: Message): void {
    this.#jobs.add(async () => {
      if (this.#stateWriter.isFull) await this.#stateWriter.waitForRoom();
      const startedAtMs = this.#deps.clock.monotonicMs();
      const { entries } = message;
      const { changes, after } = this.#changeConfiguration(entries);
      const results = await this.writes.run(() => this.#deps.stateMachine.apply(entries, after));
      return () => {
        this.#applied = after;
        this.#stateWriter.applied();
        this.#deps.metrics.applyDuration.observe((this.#deps.clock.monotonicMs() - startedAtMs) / 1_000);
        this.#deps.onApplied({ entries, results, changes }, message);
        this.#snapshotWhenDue();
      };
    });
  }

  tick(): void {
    this.#stateWriter.tick();
  }

  /** Puts the configuration changes among `entries` into effect, in order, before the state changes. */
  #changeConfiguration(entries: readonly Entry[]): {
    readonly changes: ReadonlyMap<LogIndex, AppliedChange>;
    readonly after: AppliedState;
  } {
    let { confState } = this.#applied;
    const changes = new Map<LogIndex, AppliedChange>();
    for (const entry of entries) {
      if (entry.kind !== "confChange") continue;
      try {
        confState = this.#deps.applyConfChange(entry.change);
        this.#confIndex = entry.index;
        changes.set(entry.index, { confState, refusal: undefined });
      } catch (error) {
        if (errorCodeOf(error) !== "CONF_CHANGE_INVALID") throw error;
        const refusal = notApplied("CONFLICT", "the configuration change is not possible", {
          cause: error,
        });
        changes.set(entry.index, { confState, refusal });
      }
    }
    const { index, term } = entries.at(-1) ?? this.#applied;
    return { changes, after: { index, term, confState } };
  }

  /**
   * Puts the snapshot, which the store holds already, in the place of log and state. A crash between the two steps
   * leaves a state that is behind the newest snapshot, which the next start sees (see recovery.ts).
   */
  install(snapshot: Snapshot, hardState: HardState): Promise<void> {
    this.#installing = true;
    return new Promise((resolve, reject) => {
      this.#jobs.add(
        async () => {
          try {
            await this.#restore(snapshot, hardState);
            resolve();
          } catch (error) {
            reject(toBlixardError(error, "STORAGE_FAILED", "install a snapshot"));
            throw error;
          }
          return () => {};
        },
        () => reject(new BlixardError("STOPPED", "the node was closed")),
      );
    });
  }

  async #restore(snapshot: Snapshot, hardState: HardState): Promise<void> {
    const { log, snapshots, stateMachine } = this.#deps;
    const { index, term, confState } = snapshot;
    const meta = await snapshots.latest();
    if (meta?.index !== index) {
      throw new BlixardError("STORAGE_FAILED", `the snapshot at ${index} is not in the store any more`);
    }
    const chunks = snapshotChunks(snapshots, meta, this.#options.snapshotChunkBytes);
    await this.snapshotWork.run(async (progress) => {
      await log.reset({ index, term }, hardState);
      progress();
      await stateMachine.restore({ index, term, confState }, withProgress(chunks, progress));
    });
  }

  /** The loop learns that {@link install} is done. */
  installed({ index, term, confState }: Snapshot): void {
    this.#installing = false;
    this.#applied = { index, term, confState };
    this.#confIndex = 0 as LogIndex;
    this.#deps.cache.reset({ index, term });
    this.#deps.metrics.snapshots.add(1, { kind: "restored" });
  }

  /**
   * True while the log must not grow because a snapshot under way is slower than the writes. Without a snapshot under
   * way the log is never full: entries must be taken and applied before the next snapshot can be due.
   */
  get logIsFull(): boolean {
    return this.#snapshotting !== undefined && this.#deps.cache.bytes > this.#options.logBytesMax * fullFactor;
  }

  #snapshotWhenDue(): void {
    const { snapshotEntries, logBytesMax } = this.#options;
    const { cache } = this.#deps;
    const since = this.#applied.index - (cache.newestSnapshot?.index ?? 0);
    // Each new snapshot restarts a transfer, so a slow peer would otherwise never receive a whole one.
    const patience = this.#deps.isSending() ? sendingPatience : 1;
    const due =
      this.#isBehindLog() ||
      (snapshotEntries > 0 && since >= snapshotEntries * patience) ||
      (since > 0 && cache.bytes > logBytesMax * patience);
    if (!due || this.#snapshotting !== undefined) return;
    this.takeSnapshot().catch(() => {});
  }

  /** True when no snapshot stands for what the log does not hold any more, as after damage. */
  #isBehindLog(): boolean {
    const { cache } = this.#deps;
    return cache.base.index > (cache.newestSnapshot?.index ?? 0);
  }

  /** Makes another snapshot in the place of the newest one, which is damaged. */
  replaceSnapshot(): void {
    const { cache, logger } = this.#deps;
    const { newestSnapshot } = cache;
    if (newestSnapshot === undefined) return;
    logger.log("warn", "the newest snapshot is damaged; another one is made", { index: newestSnapshot.index });
    cache.forgetSnapshot();
    this.takeSnapshot().catch(() => {});
  }

  /** Saves the state as it is when the entries handed over so far are applied, and compacts the log behind it. */
  takeSnapshot(): Promise<LogIndex> {
    this.#snapshotting ??= this.#takeSnapshot().finally(() => {
      this.#snapshotting = undefined;
    });
    return this.#snapshotting;
  }

  async #takeSnapshot(): Promise<LogIndex> {
    const { snapshots, stateMachine, cache, logger, metrics, clock } = this.#deps;
    const startedAtMs = clock.monotonicMs();
    try {
      const taken = await this.#inOrder(async () => {
        const newest = cache.newestSnapshot?.index ?? 0;
        return this.#applied.index > newest ? stateMachine.snapshot() : undefined;
      });
      if (taken === undefined) return cache.newestSnapshot?.index ?? this.#applied.index;
      const { at, chunks } = taken;
      const paced = pacedChunks(chunks, clock, this.#options.snapshotChunkBytes);
      const meta = await this.snapshotWork.run((progress) => snapshots.save(at, withProgress(paced, progress)));
      await this.writes.run(() => stateMachine.flush());
      await this.#compact(() => cache.setSnapshot(meta), at.index);
      metrics.snapshots.add(1, { kind: "taken" });
      const durationMs = clock.monotonicMs() - startedAtMs;
      const { index, sizeBytes } = meta;
      this.#damagedInRow = 0;
      metrics.snapshotDuration.observe(durationMs / 1_000);
      logger.log("info", "took a snapshot", { index, sizeBytes, durationMs });
      this.#deps.onEvent({ type: "snapshotTaken", index, sizeBytes, durationMs });
      return at.index;
    } catch (error) {
      // A snapshot of the leader arrived meanwhile, and it is newer.
      if (errorCodeOf(error) === "CONFLICT") return cache.newestSnapshot?.index ?? this.#applied.index;
      if (errorCodeOf(error) === "STORAGE_CORRUPT" && this.#damagedInRow < damagedInRowMax) {
        this.#damagedInRow++;
        logger.log("error", "no snapshot could be taken of a damaged state", { error });
      } else if (errorCodeOf(error) !== "STOPPED") this.#deps.onError(error);
      throw error;
    }
  }

  #compact(before: () => void, index: LogIndex): Promise<void> {
    const { cache, log, post } = this.#deps;
    const { trailingEntries, logBytesMax } = this.#options;
    return new Promise((resolve, reject) => {
      post(() => {
        before();
        const base = cache.baseKeeping(index, trailingEntries, logBytesMax / 4);
        cache.compact(base);
        log.compact(base).then(resolve, reject);
      });
    });
  }

  /** Runs `work` when everything before it is applied and nothing after it has begun. */
  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#jobs.add(
        async () => {
          await work().then(resolve, reject);
          return () => {};
        },
        () => reject(new BlixardError("STOPPED", "the node was closed")),
      );
    });
  }

  /** Resolves when nothing uses the state machine any more. */
  async close(): Promise<void> {
    await this.#jobs.close();
    await this.#stateWriter.idle();
  }
}
