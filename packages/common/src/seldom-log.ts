/** A line of the log for what others may cause as often as they like: written at once, and then at most every ten seconds. */
import type { Clock } from "./clock.ts";
import type { LogFields, Logger, LogLevel } from "./logger.ts";

const logIntervalMs = 10_000;

export class SeldomLog {
  readonly #deps: { readonly clock: Clock; readonly logger: Logger };
  readonly #level: LogLevel;
  readonly #message: string;
  #loggedAtMs = Number.NEGATIVE_INFINITY;
  #times = 0;

  constructor(deps: { readonly clock: Clock; readonly logger: Logger }, level: LogLevel, message: string) {
    this.#deps = deps;
    this.#level = level;
    this.#message = message;
  }

  /** It happened once more. `fields` stand for all times since the last line, whose number is the field `times`. */
  happened(fields: LogFields): void {
    const { clock, logger } = this.#deps;
    this.#times++;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#loggedAtMs < logIntervalMs) return;
    logger.log(this.#level, this.#message, { ...fields, times: this.#times });
    this.#loggedAtMs = nowMs;
    this.#times = 0;
  }
}
