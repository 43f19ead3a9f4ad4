/**
 * The durable half of a Ready. One write of the log is under way at a time; the jobs that wait for it share the next one
 * (group commit), so that the price of an fsync is paid once for all of them. The owner's loop submits what it has and
 * then starts the write. The core's answers to a job are released when it, and all before it, are durable. A snapshot is
 * a barrier: what follows it waits until it is installed.
 */
import type { Clock } from "@blixard/common";
import { entriesSizeBytes } from "../core/entry-size.ts";
import type { Entry, HardState, Message, Snapshot } from "../core/types.ts";
import type { LogStore } from "../ports.ts";

export interface AppendJob {
  readonly entries: readonly Entry[];
  readonly hardState: HardState | undefined;
  readonly snapshot: Snapshot | undefined;
  /** To be stepped or sent when the job is durable. */
  readonly responses: readonly Message[];
  /** The commit index has to be durable too. Default: false, it goes along with the next write. */
  readonly keepsCommit?: boolean;
}

/** Jobs that became durable together. */
export interface AppendedJobs {
  /** In their order. */
  readonly jobs: readonly AppendJob[];
  /** What was written; undefined when nothing had to be. */
  readonly write: { readonly entries: number; readonly durationMs: number } | undefined;
}

export interface AppendPipelineDeps {
  readonly clock: Clock;
  readonly log: LogStore;
  /** Resets the log and restores the state; called when all earlier jobs are durable. */
  readonly install: (snapshot: Snapshot, hardState: HardState) => Promise<void>;
  /** Called in the order of the jobs. It only enqueues. */
  readonly onDone: (done: AppendedJobs) => void;
  readonly onError: (error: unknown) => void;
}

interface WaitingJob {
  readonly job: AppendJob;
  /** As of this job. */
  readonly hardState: HardState;
  /** When it was submitted, on the clock of what this process could run. */
  readonly runnableAtMs: number;
}

/** Bytes of entries after which no other job joins a write. */
const writeBytesMax = 4 * 1024 * 1024;

export class AppendPipeline {
  readonly #deps: AppendPipelineDeps;
  #hardState: HardState;
  /** The hard state that the log store was given last. */
  #written: HardState;
  /** What no write has taken yet, oldest first. */
  #waiting: WaitingJob[] = [];
  /** What the write under way will make durable. */
  #writing: readonly WaitingJob[] = [];
  #write: Promise<void> | undefined;
  #installing = false;
  #failed = false;

  constructor(deps: AppendPipelineDeps, hardState: HardState) {
    this.#deps = deps;
    this.#hardState = hardState;
    this.#written = hardState;
  }

  /** True while a write is under way: what is submitted now waits for the next one. */
  get isBusy(): boolean {
    return this.#write !== undefined;
  }

  submit(job: AppendJob): void {
    if (job.hardState !== undefined) this.#hardState = job.hardState;
    const hardState = this.#hardState;
    this.#waiting.push({ job, hardState, runnableAtMs: this.#deps.clock.runnableMs() });
  }

  /** Starts to write what waits, unless a write is under way. */
  start(): void {
    if (this.#write !== undefined || this.#waiting.length === 0 || this.#failed) return;
    this.#write = this.#run();
  }

  /**
   * Makes the commit index durable after a configuration was applied. A node that restarts must know that configuration
   * by itself: it decides who may be elected, so no leader can be waited for to tell it.
   */
  keepCommit(hardState: HardState): void {
    this.submit({ entries: [], hardState, snapshot: undefined, responses: [], keepsCommit: true });
  }

  async #run(): Promise<void> {
    this.#writing = this.#takeGroup();
    const jobs = this.#writing.map(({ job }) => job);
    const startedAtMs = this.#deps.clock.monotonicMs();
    try {
      const entries = await this.#carryOut(this.#writing);
      const durationMs = this.#deps.clock.monotonicMs() - startedAtMs;
      this.#deps.onDone({ jobs, write: entries === undefined ? undefined : { entries, durationMs } });
    } catch (error) {
      this.#failed = true;
      this.#deps.onError(error);
    }
    this.#writing = [];
    this.#write = undefined;
  }

  /**
   * A snapshot alone; or what waits up to the next one, as much as one write takes. Every term and vote is written, also
   * when a later one waits behind it; so the entries of a group follow each other.
   */
  #takeGroup(): readonly WaitingJob[] {
    const [first] = this.#waiting;
    let count = 0;
    let bytes = 0;
    for (const { job, hardState } of this.#waiting) {
      const joins = job.snapshot === undefined && isSameVote(hardState, first?.hardState) && bytes < writeBytesMax;
      if (count > 0 && !joins) break;
      count++;
      if (job.snapshot !== undefined) break;
      bytes += entriesSizeBytes(job.entries);
    }
    return this.#waiting.splice(0, count);
  }

  /** Resolves, when the group is durable, with the number of entries that were written for it; undefined for no write. */
  async #carryOut(group: readonly WaitingJob[]): Promise<number | undefined> {
    const [first] = group;
    const snapshot = first?.job.snapshot;
    if (first === undefined || snapshot === undefined) return this.#append(group);
    const { job, hardState } = first;
    this.#written = hardState;
    this.#installing = true;
    // The commit index may be ahead of the snapshot by entries that come with it and are not stored yet.
    await this.#deps.install(snapshot, { ...hardState, commit: snapshot.index });
    if (job.entries.length > 0) await this.#deps.log.append({ entries: job.entries, hardState });
    this.#installing = false;
    return job.entries.length;
  }

  #append(group: readonly WaitingJob[]): Promise<number> | undefined {
    const { term, vote, commit } = this.#written;
    const hardState = group.at(-1)?.hardState ?? this.#written;
    const entries = group.flatMap(({ job }) => job.entries);
    const isNews = hardState.term !== term || hardState.vote !== vote;
    const keepsCommit = group.some(({ job }) => job.keepsCommit === true);
    const mustSync = entries.length > 0 || isNews || (keepsCommit && hardState.commit > commit);
    // A commit index alone is not worth an fsync: it goes along with the next write.
    if (!mustSync) return undefined;
    this.#written = hardState;
    return this.#deps.log.append({ entries, hardState }).then(() => entries.length);
  }

  /** For how long, of the time in which this process could run, the oldest write has not become durable; or 0. Installing a snapshot may take long and does not count. */
  oldestMs(): number {
    const oldest = (this.#writing[0] ?? this.#waiting[0])?.runnableAtMs;
    return oldest === undefined || this.#installing ? 0 : this.#deps.clock.runnableMs() - oldest;
  }

  /** Resolves when all jobs given so far have ended, well or not. */
  async idle(): Promise<void> {
    for (this.start(); this.#write !== undefined; this.start()) await this.#write;
  }
}

function isSameVote(one: HardState, other: HardState | undefined): boolean {
  return one.term === other?.term && one.vote === other.vote;
}
