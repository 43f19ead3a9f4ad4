/** A clock that only moves when it is told to, so that a test of timeouts takes no time and never flickers. */
import type { Clock, Timer } from "@blixard/common";

interface PendingTimer {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #stoodStillMs = 0;
  #sleptMs = 0;
  readonly #timers = new Set<PendingTimer>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  elapsedMs(): number {
    return this.#nowMs + this.#sleptMs;
  }

  runnableMs(): number {
    return this.#nowMs - this.#stoodStillMs;
  }

  unixMs(): number {
    return 1_700_000_000_000 + this.#nowMs + this.#sleptMs;
  }

  setTimer(delayMs: number, run: () => void): Timer {
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** The process is stopped for `ms`: what became due meanwhile runs at the next `advance`. */
  standStill(ms: number): void {
    this.#nowMs += ms;
    this.#stoodStillMs += ms;
  }

  /** The machine sleeps for `ms`, and its monotonic clock with it. */
  sleep(ms: number): void {
    this.#sleptMs += ms;
  }

  /** Moves on by `ms`, running what becomes due in order; what a timer set going ends before the next one runs. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (let next = this.#next(endMs); next !== undefined; next = this.#next(endMs)) {
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
      await settle();
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
  }

  #next(untilMs: number): PendingTimer | undefined {
    let next: PendingTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.atMs > untilMs) continue;
      if (next === undefined || timer.atMs < next.atMs || (timer.atMs === next.atMs && timer.order < next.order)) {
        next = timer;
      }
    }
    return next;
  }
}

/** Lets every promise that can go on without a timer do so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
