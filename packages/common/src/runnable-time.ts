/**
 * Time in which this process could run. A short timer ticks; each tick counts the time since the one before, but no more
 * than a bounded amount. A process that was stopped, a machine that slept and a loop that got no processor all come back to
 * timers that are late, and to answers that wait unread: however long that was, it counts as one tick.
 */
import type { Clock, Timer } from "./clock.ts";

/** Each tick costs some of the processor, so none comes while other timers tell often enough that the process runs. */
const tickMs = 100;
/** A loop that is merely busy is late by a part of a tick. */
const countedMsMax = 1.5 * tickMs;

export interface TickClock extends Pick<Clock, "monotonicMs"> {
  /** Calls `run` each `intervalMs` for ever. What is returned begins the interval anew, and costs next to nothing. */
  setTicker(intervalMs: number, run: () => void): () => void;
}

export class RunnableTime {
  readonly #clock: TickClock;
  readonly #postpone: () => void;
  #countedMs = 0;
  #lastMs: number;

  constructor(clock: TickClock) {
    this.#clock = clock;
    this.#lastMs = clock.monotonicMs();
    this.#postpone = clock.setTicker(tickMs, () => this.#count());
  }

  /** To be called by whatever else runs because of a timer. */
  ran(): void {
    this.#count();
    this.#postpone();
  }

  nowMs(): number {
    return this.#countedMs + Math.min(this.#clock.monotonicMs() - this.#lastMs, countedMsMax);
  }

  #count(): void {
    this.#countedMs = this.nowMs();
    this.#lastMs = this.#clock.monotonicMs();
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
