/**
 * Lines for a reader who may stop reading: a stopped pager, a stuck log collector. A pipe that is full must not stop the
 * node, nor may what waits for it grow without bound. So beyond a limit lines are dropped and counted, until the reader
 * has read everything that waits; then he is told.
 */
import type { Writable } from "node:stream";

/** What is used of standard error. Its `write` returns at once, also where it is a pipe that is full. */
export type LineTarget = Pick<Writable, "write" | "writableLength" | "once">;

export interface LossyLinesOptions {
  /** Bytes that may wait for the reader. */
  readonly waitingBytesMax: number;
  /** The reader is back after this many lines were dropped. */
  readonly onBack: (dropped: number) => void;
}

export class LossyLines {
  readonly #target: LineTarget;
  readonly #options: LossyLinesOptions;
  #dropped = 0;

  constructor(target: LineTarget, options: LossyLinesOptions) {
    this.#target = target;
    this.#options = options;
  }

  /** Never waits. */
  write(line: string): void {
    if (this.#dropped > 0) {
      this.#dropped++;
      return;
    }
    const { writableLength } = this.#target;
    // One long line passes where nothing waits.
    if (writableLength === 0 || writableLength + Buffer.byteLength(line) <= this.#options.waitingBytesMax) {
      this.#target.write(line);
      return;
    }
    this.#dropped = 1;
    this.#target.once("drain", () => {
      const dropped = this.#dropped;
      this.#dropped = 0;
      this.#options.onBack(dropped);
    });
  }
}
