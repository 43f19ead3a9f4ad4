/**
 * Looks for the panic of a Linux kernel in the serial output of a guest: where pvpanic is a module, or not there, the
 * console alone tells of it. What a guest writes is anybody's word, so a find marks the guest and ends nothing.
 */
import type { ConsoleLog } from "./console-log.ts";

const lineLengthMax = 256;
const pieceBytesMax = 64 * 1024;
/** Of a guest that writes faster than it is read, the rest is passed over. */
const scanBytesMax = 4 * pieceBytesMax;

/** A line of printk: the level and the time may stand before it, and the caller (CONFIG_PRINTK_CALLER). */
const panicLine = /^(?:<\d{1,2}>)?(?:\[[ \d.]{1,20}\])?(?:\[[ \w]{1,12}\])? ?(Kernel panic - not syncing.*)/;

/** Finds the line in pieces of any size. Of a long line only the beginning is kept and looked at. */
export class PanicFinder {
  #line = "";

  /** The first panic in what is given, or undefined. */
  find(data: Uint8Array): string | undefined {
    const [first = "", ...rest] = Buffer.from(data.buffer, data.byteOffset, data.length).toString("latin1").split("\n");
    let line = (this.#line + first.slice(0, lineLengthMax)).slice(0, lineLengthMax);
    for (const next of rest) {
      const found = panicLine.exec(line)?.[1];
      if (found !== undefined) return found.replaceAll(/[^\x20-\x7e]+/g, " ").trim();
      line = next.slice(0, lineLengthMax);
    }
    this.#line = line;
    return undefined;
  }

  /** Bytes are missing before the next ones. */
  reset(): void {
    this.#line = "";
  }
}

/** Reads the console of one start from where it began. */
export class ConsoleScan {
  readonly #console: ConsoleLog;
  readonly #finder = new PanicFinder();
  #offset: number;
  #panic: string | undefined;

  constructor(console: ConsoleLog, startOffset: number) {
    this.#console = console;
    this.#offset = startOffset;
  }

  /** The line in which the kernel says that it panicked. */
  get panic(): string | undefined {
    return this.#panic;
  }

  /** Looks at what came since the last call. */
  async advance(): Promise<void> {
    const endOffset = await this.#console.endOffset();
    const from = Math.max(this.#offset, endOffset - scanBytesMax);
    if (from > this.#offset) this.#finder.reset();
    this.#offset = from;
    while (this.#panic === undefined && this.#offset < endOffset) {
      const { offset, data } = await this.#console.read(this.#offset, pieceBytesMax);
      if (offset !== this.#offset) this.#finder.reset();
      if (data.length === 0) return;
      this.#panic = this.#finder.find(data);
      this.#offset = offset + data.length;
    }
  }
}
