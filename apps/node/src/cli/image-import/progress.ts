/** How far a long transfer is: one line that changes on a terminal, else a line now and then. */
import { type CliContext, say } from "../cli-context.ts";

const terminalEveryMs = 200;
const plainEveryMs = 10_000;

export class Progress {
  readonly #context: CliContext;
  readonly #what: string;
  readonly #wholeBytes: number | undefined;
  #lastMs = performance.now();
  #wasDrawn = false;

  constructor(context: CliContext, what: string, wholeBytes: number | undefined) {
    this.#context = context;
    this.#what = what;
    this.#wholeBytes = wholeBytes;
  }

  at(bytes: number): void {
    const { stderr } = this.#context;
    const nowMs = performance.now();
    if (nowMs - this.#lastMs < (stderr.isTTY === true ? terminalEveryMs : plainEveryMs)) return;
    this.#lastMs = nowMs;
    const whole = this.#wholeBytes;
    const mib = (bytes / 1024 ** 2).toFixed(1);
    const text =
      whole === undefined
        ? `${this.#what}: ${mib} MiB`
        : `${this.#what}: ${Math.floor((100 * bytes) / Math.max(1, whole))} % (${mib} of ${(whole / 1024 ** 2).toFixed(1)} MiB)`;
    if (stderr.isTTY === true) stderr.write(`\r\u001b[K${text}`);
    else say(this.#context, text);
    this.#wasDrawn = stderr.isTTY === true;
  }

  end(): void {
    if (this.#wasDrawn) this.#context.stderr.write("\r\u001b[K");
    this.#wasDrawn = false;
  }
}
