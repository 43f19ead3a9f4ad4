/** A pending call of a {@link Clock}. */
export interface Timer {
  /** Forgets the call; harmless when it already ran. */
  cancel(): void;
}

/** The port for time. The simulator gives a virtual one; a process uses `systemClock`. */
export interface Clock {
  /** Milliseconds on a monotonic clock with an arbitrary origin; never goes back. */
  monotonicMs(): number;
  /** Wall time as Unix milliseconds; may jump. For people and for records, never for deadlines. */
  unixMs(): number;
  /** Calls `run` once after `delayMs`. The owner cancels it when it closes. */
  setTimer(delayMs: number, run: () => void): Timer;
}
