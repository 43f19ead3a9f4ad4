/**
 * The durable half of a Ready. Writes overlap and complete in order; the core's answers to them are released when
 * they, and all before them, are durable. A snapshot is a barrier: what follows it waits until it is installed.
 */
import type { Clock } from "@blixard/common";
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

export interface AppendPipelineDeps {
  readonly clock: Clock;
  readonly log: LogStore;
  /** Resets the log and restores the state; called when all earlier jobs are durable. */
  readonly install: (snapshot: Snapshot, hardState: HardState) => Promise<void>;
  /** Called in the order of the jobs. It only enqueues. */
  readonly onDone: (job: AppendJob, durationMs: number) => void;
  readonly onError: (error: unknown) => void;
}

export class AppendPipeline {
  readonly #deps: AppendPipelineDeps;
  #hardState: HardState;
  /** The hard state that the log store was given last, or that a job under way will give it. */
  #written: HardState;
  #tail: Promise<void> = Promise.resolve();
  #installing: Promise<void> | undefined;
  /** The times, on the clock of what this process could run, at which the unfinished jobs were submitted, oldest first. */
  readonly #runnableAtMs: number[] = [];

  constructor(deps: AppendPipelineDeps, hardState: HardState) {
    this.#deps = deps;
    this.#hardState = hardState;
    this.#written = hardState;
  }

  submit(job: AppendJob): void {
    if (job.hardState !== undefined) this.#hardState = job.hardState;
    const hardState = this.#hardState;
    const startedAtMs = this.#deps.clock.monotonicMs();
    this.#runnableAtMs.push(this.#deps.clock.runnableMs());
    const previous = this.#tail;
    const work = this.#issue(job, hardState, previous);
    work.catch(() => {});
    this.#tail = previous.then(() => work);
    this.#tail.then(
      () => {
        this.#runnableAtMs.shift();
        this.#deps.onDone(job, this.#deps.clock.monotonicMs() - startedAtMs);
      },
      (error: unknown) => this.#deps.onError(error),
    );
    this.#tail.catch(() => {});
  }

  /**
   * Makes the commit index durable after a configuration was applied. A node that restarts must know that configuration
   * by itself: it decides who may be elected, so no leader can be waited for to tell it.
   */
  keepCommit(hardState: HardState): void {
    this.submit({ entries: [], hardState, snapshot: undefined, responses: [], keepsCommit: true });
  }

  #issue(job: AppendJob, hardState: HardState, previous: Promise<void>): Promise<void> {
    const { snapshot } = job;
    if (snapshot !== undefined) {
      this.#written = hardState;
      const installed = previous.then(async () => {
        // The commit index may be ahead of the snapshot by entries that come with it and are not stored yet.
        await this.#deps.install(snapshot, { ...hardState, commit: snapshot.index });
        if (job.entries.length > 0) await this.#deps.log.append({ entries: job.entries, hardState });
      });
      this.#installing = installed;
      const done = () => {
        if (this.#installing === installed) this.#installing = undefined;
      };
      installed.then(done, done);
      return installed;
    }
    if (this.#installing !== undefined) return this.#installing.then(() => this.#write(job, hardState));
    return this.#write(job, hardState);
  }

  #write(job: AppendJob, hardState: HardState): Promise<void> {
    const { term, vote, commit } = this.#written;
    const isNews = hardState.term !== term || hardState.vote !== vote;
    const mustSync = job.entries.length > 0 || isNews || (job.keepsCommit === true && hardState.commit > commit);
    // A commit index alone is not worth an fsync: it goes along with the next write.
    if (!mustSync) return Promise.resolve();
    this.#written = hardState;
    return this.#deps.log.append({ entries: job.entries, hardState });
  }

  /** For how long, of the time in which this process could run, the oldest write has not become durable; or 0. Installing a snapshot may take long and does not count. */
  oldestMs(): number {
    const [oldest] = this.#runnableAtMs;
    return oldest === undefined || this.#installing !== undefined ? 0 : this.#deps.clock.runnableMs() - oldest;
  }

  /** Resolves when all jobs given so far have ended, well or not. */
  async idle(): Promise<void> {
    await this.#tail.catch(() => {});
  }
}
