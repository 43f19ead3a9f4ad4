import type { Clock } from "./clock.ts";
import { offAbort, onAbort } from "./on-abort.ts";
import { abortReason } from "./waiting.ts";

export interface UntilOptions {
  readonly signal?: AbortSignal;
  /** When the time is over first, the wait ends with the value of that moment, whatever it is. */
  readonly limit?: { readonly clock: Clock; readonly delayMs: number };
}

/**
 * A latest value that can be waited for. Readers that are slow miss values between, never the last one.
 * Waiting for a level replaces sleeping until "it has probably settled".
 */
export class Watch<T> {
  #value: T;
  /** Each takes itself out when it has seen what it waits for. */
  readonly #waiters = new Set<(value: T) => void>();

  constructor(initial: T) {
    this.#value = initial;
  }

  get value(): T {
    return this.#value;
  }

  set(value: T): void {
    this.#value = value;
    for (const look of this.#waiters) look(value);
  }

  update(change: (value: T) => T): void {
    this.set(change(this.#value));
  }

  /** Resolves with the first value, present or future, for which `holds`; rejects when `signal` aborts. */
  until(holds: (value: T) => boolean, options: UntilOptions = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      const { signal, limit } = options;
      // What `holds` throws here rejects.
      if (holds(this.#value)) return resolve(this.#value);
      if (signal?.aborted) return reject(abortReason(signal));
      const end = () => {
        this.#waiters.delete(look);
        offAbort(signal, abort);
        timer?.cancel();
      };
      const abort = () => {
        end();
        reject(abortReason(signal));
      };
      const look = (value: T) => {
        try {
          if (!holds(value)) return;
          resolve(value);
        } catch (error) {
          reject(error);
        }
        end();
      };
      this.#waiters.add(look);
      onAbort(signal, abort);
      const timer = limit?.clock.setTimer(limit.delayMs, () => {
        end();
        resolve(this.#value);
      });
    });
  }

  /**
   * As `until`, for whoever nearly always hears something else first, and stops waiting then: calls `run` with the first
   * later value for which `holds`. Returns what stops it. The present value is for the caller to look at.
   */
  whenNext(holds: (value: T) => boolean, run: (value: T) => void): () => void {
    const look = (value: T) => {
      if (!holds(value)) return;
      this.#waiters.delete(look);
      run(value);
    };
    this.#waiters.add(look);
    return () => this.#waiters.delete(look);
  }

  /** The present value, then each later one that the reader is in time for, until `signal` aborts. */
  async *values(options: { readonly signal?: AbortSignal } = {}): AsyncIterable<T> {
    while (!options.signal?.aborted) {
      const seen = this.#value;
      let sets = 0;
      const changed = this.until(() => sets++ > 0, options);
      // A reader that stops between two values leaves this promise unobserved; its rejection says nothing new.
      changed.catch(() => {});
      yield seen;
      try {
        await changed;
      } catch {
        return;
      }
    }
  }
}
