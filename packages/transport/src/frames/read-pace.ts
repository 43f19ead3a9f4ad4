/**
 * How fast this node reads what one member sends. Who asks for more than it may have is refused, and each refusal costs
 * reading, decoding and an answer; so each makes the next read wait a moment. What is not read waits at the sender.
 */
import type { Clock } from "@blixard/common";
import { transportLimits } from "../transport-limits.ts";

export class ReadPace {
  readonly #clock: Clock;
  #freeAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Lets the next read wait; many calls add up to a bound, below which the member is still heard to be alive. */
  slow(): void {
    const nowMs = this.#clock.monotonicMs();
    const { slowReadStepMs, slowReadMsMax } = transportLimits;
    this.#freeAtMs = Math.min(Math.max(nowMs, this.#freeAtMs) + slowReadStepMs, nowMs + slowReadMsMax);
  }

  /** Whether reads wait, and are small: also for a while after the last refusal. */
  get isSlow(): boolean {
    return this.#clock.monotonicMs() < this.#freeAtMs + transportLimits.slowReadLastsMs;
  }

  /** Resolves when the next read may begin. */
  async rest(): Promise<void> {
    for (let leftMs = this.#leftMs(); leftMs > 0; leftMs = this.#leftMs()) {
      await new Promise<void>((resolve) => this.#clock.setTimer(Math.ceil(leftMs), resolve));
    }
  }

  #leftMs(): number {
    return this.#freeAtMs - this.#clock.monotonicMs();
  }
}
