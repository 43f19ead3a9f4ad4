/**
 * Asynchronous work on the state machine, one job at a time. Both ends of a job run on the loop of its owner, so they
 * may touch what the loop owns.
 */

/** Starts the work; the function it resolves with runs on the loop when it is done. */
export type Job = () => Promise<() => void>;

export class JobQueue {
  readonly #post: (task: () => void) => void;
  readonly #onError: (error: unknown) => void;
  #jobs: { readonly job: Job; readonly dropped: () => void }[] = [];
  #closed = false;
  #running: Promise<void> | undefined;

  constructor(post: (task: () => void) => void, onError: (error: unknown) => void) {
    this.#post = post;
    this.#onError = onError;
  }

  /** `dropped` is called instead when the queue is closed before the job began. */
  add(job: Job, dropped: () => void = () => {}): void {
    if (this.#closed) {
      dropped();
      return;
    }
    this.#jobs.push({ job, dropped });
    this.#post(() => this.#next());
  }

  #next(): void {
    if (this.#running !== undefined) return;
    const next = this.#jobs.shift();
    if (next === undefined) return;
    this.#running = next.job().then(
      (done) =>
        this.#post(() => {
          this.#running = undefined;
          done();
          this.#next();
        }),
      (error: unknown) => this.#onError(error),
    );
  }

  /** Drops what has not begun and resolves when the job that has begun ended. */
  async close(): Promise<void> {
    this.#closed = true;
    const dropped = this.#jobs;
    this.#jobs = [];
    for (const job of dropped) job.dropped();
    await this.#running;
  }
}
