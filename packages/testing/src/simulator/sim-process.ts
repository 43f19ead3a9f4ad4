/**
 * One run of a program on a simulated machine. Everything that reaches its code goes through `enter`: a process that
 * was killed never runs again, and one that is paused (SIGSTOP, a suspended machine) gets everything later, in order.
 */
import type { Clock, Timer } from "@blixard/common";
import type { VirtualTime } from "./virtual-time.ts";

const epochUnixMs = 1_700_000_000_000;

export class SimProcess {
  readonly nodeId: number;
  readonly #time: VirtualTime;
  readonly #bootedAtMs: number;
  readonly #wallOffsetMs: () => number;
  #alive = true;
  #paused = false;
  #endedAtMs: number | undefined;
  #waiting: (() => void)[] = [];
  readonly clock: Clock;

  /** `wallOffsetMs` is how wrong the wall clock of the machine is, `clockRate` how fast its clocks run. */
  constructor(nodeId: number, time: VirtualTime, wallOffsetMs: () => number, clockRate = 1) {
    this.nodeId = nodeId;
    this.#time = time;
    this.#bootedAtMs = time.nowMs;
    this.#wallOffsetMs = wallOffsetMs;
    this.clock = {
      monotonicMs: () => (this.#time.nowMs - this.#bootedAtMs) * clockRate,
      unixMs: () => Math.floor(epochUnixMs + this.#time.nowMs + this.#wallOffsetMs()),
      setTimer: (delayMs, run) => this.after(delayMs / clockRate, run),
    };
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** Undefined while it is alive. */
  get endedAtMs(): number | undefined {
    return this.#endedAtMs;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Runs `work` as part of this process: now, when it is resumed, or never. */
  enter(work: () => void): void {
    if (!this.#alive) return;
    if (this.#paused) this.#waiting.push(work);
    else work();
  }

  after(delayMs: number, run: () => void): Timer {
    if (!this.#alive) return { cancel: () => {} };
    let cancelled = false;
    const timer = this.#time.after(delayMs, this.nodeId, () => {
      this.enter(() => {
        if (!cancelled) run();
      });
    });
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    // One event each, so that promises settle between them as they do otherwise.
    for (const work of waiting) this.#time.after(0, this.nodeId, () => this.enter(work));
  }

  kill(): void {
    if (this.#alive) this.#endedAtMs = this.#time.nowMs;
    this.#alive = false;
    this.#waiting = [];
  }
}
