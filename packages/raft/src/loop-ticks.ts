/**
 * The ticks of the loop. One that comes late says that this process stood still, and that what others sent meanwhile
 * waits unread: nobody is missed before it was read. A follower lets one tick pass for that, so that a process that is
 * always late waits twice as many of its late ticks for a leader, and no more. A leader lets one turn of the event loop
 * pass, because the others wait for its heartbeats.
 */
import type { Clock, Timer } from "@blixard/common";

export interface LoopTicksHooks {
  readonly leads: () => boolean;
  readonly tick: () => void;
}

export class LoopTicks {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #hooks: LoopTicksHooks;
  #timer: Timer | undefined;
  #turn: Timer | undefined;
  /** The tick before this one came late and was let pass. */
  #letPass = false;

  constructor(clock: Clock, intervalMs: number, hooks: LoopTicksHooks) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
    this.#hooks = hooks;
    this.#arm();
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#turn?.cancel();
  }

  #arm(): void {
    const dueMs = this.#clock.monotonicMs() + this.#intervalMs;
    this.#timer = this.#clock.setTimer(this.#intervalMs, () => {
      const isLate = this.#clock.monotonicMs() - dueMs >= this.#intervalMs;
      this.#letPass = isLate && !this.#letPass;
      this.#arm();
      if (!this.#letPass) this.#hooks.tick();
      else if (this.#hooks.leads()) this.#turn = this.#clock.setTimer(0, () => this.#hooks.tick());
    });
  }
}
