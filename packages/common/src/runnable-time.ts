/**
 * Time in which this process could run. A short timer ticks; each tick counts the time since the one before, but no more
 * than a bounded amount. A process that was stopped, a machine that slept and a loop that got no processor all come back to
 * timers that are late, and to answers that wait unread: however long that was, it counts as one tick.
 */
import type { Clock, Timer } from "./clock.ts";

/** Each tick costs some of the processor. */
const tickMs = 100;
/** A loop that is merely busy is late by a part of a tick. */
const countedMsMax = 1.5 * tickMs;

export class RunnableTime {
  readonly #clock: Pick<Clock, "monotonicMs" | "setTimer">;
  #countedMs = 0;
  #lastMs: number;

  /** The timer that it sets goes on for ever. */
  constructor(clock: Pick<Clock, "monotonicMs" | "setTimer">) {
    this.#clock = clock;
    this.#lastMs = clock.monotonicMs();
    this.#arm();
  }

  nowMs(): number {
    return this.#countedMs + Math.min(this.#clock.monotonicMs() - this.#lastMs, countedMsMax);
  }

  #arm(): void {
    this.#clock.setTimer(tickMs, () => {
      this.#countedMs = this.nowMs();
      this.#lastMs = this.#clock.monotonicMs();
      this.#arm();
    });
  }
}

/**
 * Calls `run` once, when this process could have run for `delayMs`: for a limit that lays silence to the charge of somebody
 * else. A time in which the process stood still is added, so that what came in meanwhile is read first.
 */
export function setRunnableTimer(clock: Clock, delayMs: number, run: () => void): Timer {
  const dueMs = clock.runnableMs() + delayMs;
  let timer: Timer;
  const arm = (waitMs: number) => {
    timer = clock.setTimer(waitMs, () => {
      const leftMs = dueMs - clock.runnableMs();
      if (leftMs < 1) run();
      else arm(leftMs);
    });
  };
  arm(delayMs);
  return { cancel: () => timer.cancel() };
}
