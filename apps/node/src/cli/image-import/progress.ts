/** How far a long transfer is: one line that changes on a terminal, else a line now and then. */
import { type CliContext, say } from "../cli-context.ts";

const terminalEveryMs = 200;
const plainEveryMs = 10_000;

export class Progress {
  readonly #context: CliContext;
  readonly #what: string;
  readonly #wholeBytes: number | undefined;
  readonly #beginBytes: number;
  readonly #beginMs = performance.now();
  #lastMs = this.#beginMs;
  #wasDrawn = false;

  /** `beginBytes`: what was there before. */
  constructor(context: CliContext, what: string, wholeBytes: number | undefined, beginBytes = 0) {
    this.#context = context;
    this.#what = what;
    this.#wholeBytes = wholeBytes;
    this.#beginBytes = beginBytes;
  }

  at(bytes: number): void {
    const { stderr } = this.#context;
    const nowMs = performance.now();
    if (nowMs - this.#lastMs < (stderr.isTTY === true ? terminalEveryMs : plainEveryMs)) return;
    this.#lastMs = nowMs;
    const whole = this.#wholeBytes;
    const mib = mebibytes(bytes);
    const rate = `${mebibytes((1_000 * (bytes - this.#beginBytes)) / (nowMs - this.#beginMs))} MiB/s`;
    const text =
      whole === undefined
        ? `${this.#what}: ${mib} MiB, ${rate}`
        : `${this.#what}: ${Math.floor((100 * bytes) / Math.max(1, whole))} % (${mib} of ${mebibytes(whole)} MiB, ${rate})`;
    if (stderr.isTTY === true) stderr.write(`\r\u001b[K${text}`);
    else say(this.#context, text);
    this.#wasDrawn = stderr.isTTY === true;
  }

  end(): void {
    if (this.#wasDrawn) this.#context.stderr.write("\r\u001b[K");
    this.#wasDrawn = false;
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(1);
}
