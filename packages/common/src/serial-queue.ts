/** Runs asynchronous work one piece at a time, in the order it was given. A failure does not stop what follows. */
export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();
  #pending = 0;

  /** Pieces of work that were given and have not ended. */
  get pending(): number {
    return this.#pending;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    this.#pending++;
    const result = this.#tail.then(work).finally(() => {
      this.#pending--;
    });
    this.#tail = result.catch(() => {});
    return result;
  }

  /** Resolves when all work given so far has ended. */
  async idle(): Promise<void> {
    await this.#tail;
  }
}
