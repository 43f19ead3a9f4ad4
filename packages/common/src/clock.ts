/** A pending call of a {@link Clock}. */
export interface Timer {
  /** Forgets the call; harmless when it already ran. */
  cancel(): void;
}

/**
 * The port for time. The simulator gives a virtual one; a process uses `systemClock`.
 *
 * There are three readings that never go back, because a process does not always run. `monotonicMs` is for measuring and
 * pacing. What a node grants itself, such as a lease, is measured with `elapsedMs`. What it holds against others, such as a
 * disk that does not answer, is measured with `runnableMs`. docs/time.md lists which limit uses which.
 */
export interface Clock {
  /**
   * Milliseconds on a monotonic clock with an arbitrary origin; never goes back. It goes on while the process is stopped
   * (SIGSTOP), and may stand still while the machine sleeps.
   */
  monotonicMs(): number;
  /**
   * Milliseconds on a clock of its own origin that goes on while the machine sleeps; never goes back. In doubt it is ahead:
   * for what expires.
   */
  elapsedMs(): number;
  /**
   * Milliseconds, from an origin of its own, in which this process could run: a time in which it stood still, for whatever
   * reason, counts like one short tick. For what is laid to the charge of a disk, a peer or a link.
   */
  runnableMs(): number;
  /** Wall time as Unix milliseconds; may jump. For people and for records, never for deadlines. */
  unixMs(): number;
  /** Calls `run` once after `delayMs`. The owner cancels it when it closes. */
  setTimer(delayMs: number, run: () => void): Timer;
}
