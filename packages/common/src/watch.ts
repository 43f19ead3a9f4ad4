import { abortReason } from "./deadline.ts";

/**
 * A latest value that can be waited for. Readers that are slow miss values between, never the last one.
 * Waiting for a level replaces sleeping until "it has probably settled".
 */
export class Watch<T> {
  #value: T;
  #waiters = new Set<() => void>();

  constructor(initial: T) {
    this.#value = initial;
  }

  get value(): T {
    return this.#value;
  }

  set(value: T): void {
    this.#value = value;
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }

  update(change: (value: T) => T): void {
    this.set(change(this.#value));
  }

  /** Resolves with the first value, present or future, for which `holds`; rejects when `signal` aborts. */
  async until(holds: (value: T) => boolean, options: { readonly signal?: AbortSignal } = {}): Promise<T> {
    while (!holds(this.#value)) await this.#changed(options.signal);
    return this.#value;
  }

  /** The present value, then each later one that the reader is in time for, until `signal` aborts. */
  async *values(options: { readonly signal?: AbortSignal } = {}): AsyncIterable<T> {
    while (!options.signal?.aborted) {
      const seen = this.#value;
      const changed = this.#changed(options.signal);
      yield seen;
      try {
        await changed;
      } catch {
        return;
      }
    }
  }

  #changed(signal: AbortSignal | undefined): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => {
      if (signal?.aborted) {
        reject(abortReason(signal));
        return;
      }
      const abort = () => {
        this.#waiters.delete(wake);
        reject(abortReason(signal));
      };
      const wake = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      this.#waiters.add(wake);
      signal?.addEventListener("abort", abort, { once: true });
    });
    // A reader that stops between two values leaves this promise unobserved; its rejection says nothing new.
    promise.catch(() => {});
    return promise;
  }
}
