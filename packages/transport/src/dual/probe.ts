/** Asks again and again whether something answers, and less often while it does not. */
import { BlixardError, type Clock, type Timer } from "@blixard/common";
import { dualLimits } from "./dual-limits.ts";

export interface ProbeOptions {
  readonly clock: Clock;
  readonly intervalMs: number;
  /** One probe; true when it was answered. Never throws. */
  readonly run: (signal: AbortSignal) => Promise<boolean>;
}

export class Probe {
  readonly #options: ProbeOptions;
  #timer: Timer | undefined;
  #running: AbortController | undefined;
  #intervalMs: number;

  constructor(options: ProbeOptions) {
    this.#options = options;
    this.#intervalMs = options.intervalMs;
  }

  /** Starts to ask. When it asks already, it asks again soon. */
  start(): void {
    this.#intervalMs = this.#options.intervalMs;
    if (this.#running !== undefined) return;
    this.#timer?.cancel();
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#running?.abort(new BlixardError("CANCELLED", "the probe is not needed any more"));
    this.#running = undefined;
  }

  #arm(): void {
    this.#timer = this.#options.clock.setTimer(this.#intervalMs, () => void this.#run());
  }

  async #run(): Promise<void> {
    const { clock, intervalMs, run } = this.#options;
    const controller = new AbortController();
    this.#running = controller;
    const timer = clock.setTimer(dualLimits.probeWaitMs, () =>
      controller.abort(new BlixardError("UNREACHABLE", "the probe was not answered")),
    );
    const answered = await run(controller.signal);
    timer.cancel();
    if (this.#running !== controller) return;
    this.#running = undefined;
    this.#intervalMs = answered ? intervalMs : Math.min(this.#intervalMs * 2, dualLimits.probeIntervalMsMax);
    this.#arm();
  }
}
