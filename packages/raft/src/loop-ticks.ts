/**
 * The ticks of the loop. One that comes late says that this process stood still, and that what others sent meanwhile
 * waits unread: nobody is missed before it was read. A follower lets one tick pass for that, so that a process that is
 * always late waits twice as many of its late ticks for a leader, and no more. A leader lets one turn of the event loop
 * pass, because the others wait for its heartbeats.
 *
 * A process whose ticks are late again and again gets too little of the processor, and ticks cost some of it. So the time
 * between two stretches with the lateness that was measured, and with it heartbeats and elections of this node, up to a
 * bound at which followers that are well still hear their leader in time.
 */
import type { Clock, Timer } from "@blixard/common";

/** Of a new tick in the mean lateness: what is long past counts little after a second or two. */
const newShare = 0.05;

/** How many times longer than asked for the time between two ticks may be. */
export function stretchMaxOf(of: { readonly heartbeatTicks: number; readonly electionTicks: number }): number {
  // Two heartbeats fit into the shortest time to an election of a node that is not late.
  return Math.max(1, Math.min(4, of.electionTicks / (2 * of.heartbeatTicks)));
}

export interface LoopTicksHooks {
  readonly leads: () => boolean;
  readonly tick: () => void;
}

export class LoopTicks {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #stretchMax: number;
  readonly #hooks: LoopTicksHooks;
  #meanLateMs = 0;
  #timer: Timer | undefined;
  #turn: Timer | undefined;
  /** The tick before this one came late and was let pass. */
  #letPass = false;

  constructor(
    clock: Clock,
    options: { readonly intervalMs: number; readonly stretchMax: number },
    hooks: LoopTicksHooks,
  ) {
    this.#clock = clock;
    this.#intervalMs = options.intervalMs;
    this.#stretchMax = options.stretchMax;
    this.#hooks = hooks;
    this.#arm();
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#turn?.cancel();
  }

  /** Lateness of a fraction of a tick is usual. */
  #waitMs(): number {
    const stretch = Math.max(1, Math.min(this.#stretchMax, (2 * this.#meanLateMs) / this.#intervalMs));
    return stretch * this.#intervalMs;
  }

  #arm(): void {
    const waitMs = this.#waitMs();
    const dueMs = this.#clock.monotonicMs() + waitMs;
    this.#timer = this.#clock.setTimer(waitMs, () => {
      const lateMs = Math.max(0, this.#clock.monotonicMs() - dueMs);
      const isLate = lateMs >= this.#intervalMs;
      // One long time of standing still says nothing about the next minute.
      const countedMs = Math.min(lateMs, this.#stretchMax * this.#intervalMs);
      this.#meanLateMs += newShare * (countedMs - this.#meanLateMs);
      this.#letPass = isLate && !this.#letPass;
      this.#arm();
      if (!this.#letPass) this.#hooks.tick();
      else if (this.#hooks.leads()) this.#turn = this.#clock.setTimer(0, () => this.#hooks.tick());
    });
  }
}
