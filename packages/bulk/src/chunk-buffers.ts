/**
 * The memory that chunks are received into. It is used again and again: a new megabyte for each chunk would cost more in
 * the collector of the runtime than receiving the chunk does. It is let go of when nothing is received.
 */
import { Semaphore } from "./semaphore.ts";

export class ChunkBuffers {
  readonly #semaphore: Semaphore;
  #free: Uint8Array[] = [];
  #lent = 0;

  constructor(count: number) {
    this.#semaphore = new Semaphore(count);
  }

  /** Lends at least `length` bytes, whose content is arbitrary, for the time of the work. Waits while all are lent. */
  lend<T>(length: number, work: (buffer: Uint8Array) => Promise<T>): Promise<T> {
    return this.#semaphore.run(async () => {
      this.#lent++;
      const kept = this.#free.pop();
      const buffer = kept !== undefined && kept.length >= length ? kept : new Uint8Array(length);
      try {
        return await work(buffer);
      } finally {
        this.#lent--;
        this.#free.push(buffer);
        if (this.#lent === 0) this.#free = [];
      }
    });
  }
}
