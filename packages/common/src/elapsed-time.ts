/**
 * Time that goes on while the machine sleeps. The monotonic clock of most systems stands still then, and so does that of
 * Node.js; the wall clock does not, but it may be set. Each reading compares the two: what the wall clock has gained counts
 * as time that has passed, whether the machine slept or the clock was put forward. When the wall clock has moved either
 * way, the time since the machine was started is asked too, so that a sleep does not hide behind a clock that is put back
 * at the same time. That reading costs microseconds, and the comparison far less than one.
 */
export interface ElapsedTimeSources {
  readonly monotonicMs: () => number;
  readonly unixMs: () => number;
  /** Since the machine was started, with the time in which it slept. */
  readonly bootMs: () => number;
}

/** The wall clock is read in whole milliseconds, and disciplined by less than one in a second. */
const noiseMs = 2;

export class ElapsedTime {
  readonly #sources: ElapsedTimeSources;
  readonly #bootOffsetMs: number;
  #wallOffsetMs: number;
  #asleepMs = 0;

  constructor(sources: ElapsedTimeSources) {
    this.#sources = sources;
    const monotonicMs = sources.monotonicMs();
    this.#wallOffsetMs = sources.unixMs() - monotonicMs;
    this.#bootOffsetMs = sources.bootMs() - monotonicMs;
  }

  nowMs(): number {
    const monotonicMs = this.#sources.monotonicMs();
    const wallOffsetMs = this.#sources.unixMs() - monotonicMs;
    const gainedMs = wallOffsetMs - this.#wallOffsetMs;
    if (Math.abs(gainedMs) > noiseMs) {
      this.#wallOffsetMs = wallOffsetMs;
      const byBootMs = this.#sources.bootMs() - monotonicMs - this.#bootOffsetMs;
      this.#asleepMs = Math.max(this.#asleepMs + Math.max(0, gainedMs), byBootMs);
    }
    return monotonicMs + this.#asleepMs;
  }
}
