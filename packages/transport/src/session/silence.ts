/**
 * For how many heartbeats the other side of a connection has not been heard, in time in which this process could have
 * heard it. A process that stood still reads what came in before it counts a heartbeat as missed, and one that gets too
 * little of the processor waits longer: it does not cut its links for its own lateness.
 */
import type { Clock } from "@blixard/common";

export class Silence {
  readonly #clock: Clock;
  readonly #heartbeatMs: number;
  #sinceMs: number;

  /** `graceMs` is added for the first time. */
  constructor(clock: Clock, heartbeatMs: number, graceMs = 0) {
    this.#clock = clock;
    this.#heartbeatMs = heartbeatMs;
    this.#sinceMs = clock.runnableMs() + graceMs;
  }

  /** Called once in each heartbeat, with whether anything came in since the last call. Returns the heartbeats missed. */
  tick(heard: boolean): number {
    const nowMs = this.#clock.runnableMs();
    if (heard) this.#sinceMs = nowMs;
    return Math.max(0, Math.round((nowMs - this.#sinceMs) / this.#heartbeatMs));
  }
}
