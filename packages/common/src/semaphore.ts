import { offAbort, onAbort } from "./on-abort.ts";
import { abortReason } from "./waiting.ts";

/** Lets `permits` pieces of work run at a time; the others wait in the order they came. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(permits: number) {
    this.#free = permits;
  }

  run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#free === 0 || signal?.aborted) return this.#acquire(signal).then(() => this.#running(work));
    this.#free--;
    return this.#running(work);
  }

  /** Holds a permit. */
  async #running<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      this.#release();
    }
  }

  #acquire(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(abortReason(signal));
    return new Promise((resolve, reject) => {
      const enter = () => {
        offAbort(signal, abort);
        resolve();
      };
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(abortReason(signal));
      };
      onAbort(signal, abort);
      this.#waiting.push(enter);
    });
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
