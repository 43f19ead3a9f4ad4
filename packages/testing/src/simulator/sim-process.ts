/**
 * One run of a program on a simulated machine. Everything that reaches its code goes through `enter`: a process that
 * was killed never runs again, and one that is paused (SIGSTOP, a suspended machine) gets everything later, in order. While
 * the machine sleeps, its monotonic clock and all its timers stand still too.
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
  /** Since when it stands still. */
  #pausedAtMs: number | undefined;
  #asleep = false;
  #stoodStillMs = 0;
  #sleptMs = 0;
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
      monotonicMs: () => (this.#upMs - this.#sleptSinceBootMs) * clockRate,
      elapsedMs: () => this.#upMs * clockRate,
      runnableMs: () => (this.#upMs - this.#stoodStillMs - this.#pauseMs) * clockRate,
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
    return this.#pausedAtMs !== undefined;
  }

  /** True while its machine sleeps. */
  get asleep(): boolean {
    return this.#asleep;
  }

  get #upMs(): number {
    return this.#time.nowMs - this.#bootedAtMs;
  }

  /** For how long it has stood still by now. */
  get #pauseMs(): number {
    return this.#pausedAtMs === undefined ? 0 : this.#time.nowMs - this.#pausedAtMs;
  }

  get #sleptSinceBootMs(): number {
    return this.#sleptMs + (this.#asleep ? this.#pauseMs : 0);
  }

  /** Runs `work` as part of this process: now, when it is resumed, or never. */
  enter(work: () => void): void {
    if (!this.#alive) return;
    if (this.paused) this.#waiting.push(work);
    else work();
  }

  after(delayMs: number, run: () => void): Timer {
    if (!this.#alive) return { cancel: () => {} };
    let cancelled = false;
    let timer: Timer;
    const arm = (waitMs: number) => {
      const sleptMs = this.#sleptSinceBootMs;
      timer = this.#time.after(waitMs, this.nodeId, () => {
        this.enter(() => {
          if (cancelled) return;
          const stillMs = this.#sleptSinceBootMs - sleptMs;
          if (stillMs > 0) arm(stillMs);
          else run();
        });
      });
    };
    arm(delayMs);
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  /** Stops the process, as SIGSTOP does, or the machine with its clock. */
  pause(what: "process" | "machine" = "process"): void {
    if (this.paused) return;
    this.#pausedAtMs = this.#time.nowMs;
    this.#asleep = what === "machine";
  }

  resume(): void {
    if (!this.paused) return;
    this.#stoodStillMs += this.#pauseMs;
    this.#sleptMs = this.#sleptSinceBootMs;
    this.#pausedAtMs = undefined;
    this.#asleep = false;
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
