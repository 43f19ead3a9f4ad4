/** Looks for a text in what a guest has written since it was looked at last. */
import type { ConsoleLog } from "../console-log.ts";
import type { CheckResult } from "./check-course.ts";

const pieceBytesMax = 64 * 1024;
/** Of a guest that writes faster than it is read, the rest is passed over. */
const readBytesMax = 4 * pieceBytesMax;

export class ConsoleCheck {
  readonly #console: ConsoleLog;
  #offset: number;

  constructor(console: ConsoleLog, startOffset: number) {
    this.#console = console;
    this.#offset = startOffset;
  }

  async look(text: string): Promise<CheckResult> {
    const endOffset = await this.#console.endOffset();
    let at = Math.max(this.#offset, endOffset - readBytesMax);
    let read = "";
    while (at < endOffset) {
      const { offset, data } = await this.#console.read(at, pieceBytesMax);
      if (data.length === 0) break;
      read += Buffer.from(data.buffer, data.byteOffset, data.length).toString("latin1");
      at = offset + data.length;
    }
    const found = read.includes(text);
    // A text that is being written is found whole the next time.
    this.#offset = found ? at : Math.max(this.#offset, at - (text.length - 1));
    return found
      ? { type: "ok" }
      : { type: "failed", problem: "the guest has not written it since it was looked at last" };
  }
}
