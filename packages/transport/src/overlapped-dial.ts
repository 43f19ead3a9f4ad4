/**
 * Dials that overlap. A dial to a dead peer cannot be cancelled, pends for half a minute and connects late. With a new
 * dial beside it every 250 to 500 ms, one connects 43 to 148 ms after the peer is up (measured over Iroh). Each attempt
 * stops waiting after about a second, and the adapter closes a connection that comes later.
 */
import { BlixardError, type Clock, messageOf, type Random, setRunnableTimer, type Timer } from "@blixard/common";
import { transportLimits } from "./transport-limits.ts";

export interface OverlappedDialHandlers {
  /** One attempt, to its end: connected and greeted. Called again and again until `stop`. */
  readonly attempt: (signal: AbortSignal) => Promise<void>;
  readonly onFailure: (error: unknown) => void;
}

export class OverlappedDial {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #handlers: OverlappedDialHandlers;
  readonly #attempts = new Set<AbortController>();
  #timer: Timer | undefined;
  #failures = 0;

  constructor(deps: { readonly clock: Clock; readonly random: Random }, handlers: OverlappedDialHandlers) {
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#handlers = handlers;
  }

  get attemptsInFlight(): number {
    return this.#attempts.size;
  }

  /** Starts over, with the first attempt after `delayMs`. */
  start(delayMs: number): void {
    this.stop("dialling anew");
    this.#failures = 0;
    this.#timer = this.#clock.setTimer(delayMs, () => this.#next());
  }

  /** Gives up the attempts in flight. */
  stop(reason: string): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const error = new BlixardError("CANCELLED", reason);
    for (const attempt of [...this.#attempts]) attempt.abort(error);
    this.#attempts.clear();
  }

  #next(): void {
    this.#timer = this.#clock.setTimer(this.#intervalMs(), () => this.#next());
    if (this.#attempts.size < transportLimits.dialsInFlightMax) void this.#attempt();
  }

  async #attempt(): Promise<void> {
    const controller = new AbortController();
    this.#attempts.add(controller);
    const { dialWaitMs, dialWaitStepMs, dialWaitMsMax } = transportLimits;
    const waitMs = Math.min(dialWaitMs + this.#failures * dialWaitStepMs, dialWaitMsMax);
    const timer = setRunnableTimer(this.#clock, waitMs, () =>
      controller.abort(new BlixardError("UNREACHABLE", `no answer within ${waitMs} ms`)),
    );
    try {
      await this.#handlers.attempt(controller.signal);
    } catch (error) {
      // An attempt that `stop` took out of the set failed because it was told to.
      if (this.#attempts.delete(controller)) {
        this.#failures++;
        this.#handlers.onFailure(error);
      }
    } finally {
      this.#attempts.delete(controller);
      timer.cancel();
    }
  }

  #intervalMs(): number {
    const { dialIntervalMsMin, dialIntervalMsMax, dialsBeforeSlower, dialSlowerFactorMax } = transportLimits;
    const factor = Math.min(2 ** Math.floor(this.#failures / dialsBeforeSlower), dialSlowerFactorMax);
    return factor * (dialIntervalMsMin + this.#random.next() * (dialIntervalMsMax - dialIntervalMsMin));
  }
}

/** The first line of an error, for status and logs. */
export function briefly(error: unknown): string {
  return (messageOf(error).split("\n")[0] ?? "").slice(0, 200);
}
