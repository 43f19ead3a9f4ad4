/**
 * What the watchdog knows and does: it holds processes of VMs that may run only while their node has a lease, and kills them when
 * that is over. Everything from outside is given to it.
 *
 *     no lease --lease--> held --lease--> held ... --its time is over--> kills what it holds, again until it is gone
 */
import type { ProcessIdentity } from "../process/process-identity.ts";

export interface HeldProcess extends ProcessIdentity {
  readonly vmId: string;
}

export interface WatchdogDeps {
  /** On the clock that goes on while the machine sleeps. */
  readonly nowMs: () => number;
  readonly isAlive: (held: ProcessIdentity) => boolean;
  readonly kill: (held: ProcessIdentity) => void;
  /** Called before the first signal to each process. */
  readonly note: (held: HeldProcess, nowMs: number, untilMs: number) => void;
}

export class Watchdog {
  readonly #deps: WatchdogDeps;
  readonly #held = new Map<number, HeldProcess & { noted: boolean }>();
  #untilMs: number;

  constructor(deps: WatchdogDeps, untilMs: number) {
    this.#deps = deps;
    this.#untilMs = untilMs;
  }

  get untilMs(): number {
    return this.#untilMs;
  }

  get isOver(): boolean {
    return this.#deps.nowMs() >= this.#untilMs;
  }

  get count(): number {
    return this.#held.size;
  }

  set untilMs(untilMs: number) {
    this.#untilMs = untilMs;
    this.look();
  }

  hold(held: HeldProcess): void {
    this.#held.set(held.pid, { ...held, noted: false });
    this.look();
  }

  /** Kills what may not run any more, and forgets what has ended. */
  look(): void {
    const nowMs = this.#deps.nowMs();
    const isOver = nowMs >= this.#untilMs;
    for (const held of this.#held.values()) {
      if (!this.#deps.isAlive(held)) {
        this.#held.delete(held.pid);
      } else if (isOver) {
        if (!held.noted) this.#deps.note(held, nowMs, this.#untilMs);
        held.noted = true;
        this.#deps.kill(held);
      }
    }
  }
}
