/**
 * The order in which the VMs of a node start that shall run when the node comes up, as after a loss of power. One of a higher
 * order waits until those of lower orders have started, or are known not to, and until their delays are over. What is asked
 * for later waits for nobody.
 */
import { type Clock, Watch } from "@blixard/common";

export interface StartPlace {
  readonly order: number;
  /** Time that the ones of higher orders wait after this one has started. */
  readonly delayMs: number;
}

export class StartTurns {
  readonly #clock: Clock;
  readonly #places = new Map<string, StartPlace>();
  /** How many VMs of each order are still to start. */
  readonly #left = new Map<number, number>();
  /** The time until which what comes after an order waits. */
  readonly #heldUntilMs = new Map<number, number>();
  /** Grows whenever an order is through. */
  readonly #through = new Watch(0);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Gives these VMs their places, once. */
  begin(places: ReadonlyMap<string, StartPlace>): void {
    for (const [vmId, place] of places) {
      this.#places.set(vmId, place);
      this.#left.set(place.order, (this.#left.get(place.order) ?? 0) + 1);
    }
  }

  /** Whether the VM has a place and others are before it. */
  mustWait(vmId: string): boolean {
    return this.#waitMs(vmId) > 0;
  }

  /** Resolves when it is the turn of the VM, at once for one without a place. */
  async turn(vmId: string, signal: AbortSignal): Promise<void> {
    for (;;) {
      const seen = this.#through.value;
      const waitMs = this.#waitMs(vmId);
      if (waitMs === 0) return;
      const limit = Number.isFinite(waitMs) ? { limit: { clock: this.#clock, delayMs: waitMs } } : {};
      await this.#through.until((count) => count !== seen, { signal, ...limit });
    }
  }

  /** The VM has started, or does not start now. */
  done(vmId: string, { started }: { readonly started: boolean }): void {
    const place = this.#places.get(vmId);
    if (place === undefined) return;
    this.#places.delete(vmId);
    const { order, delayMs } = place;
    const untilMs = started ? this.#clock.monotonicMs() + delayMs : 0;
    this.#heldUntilMs.set(order, Math.max(untilMs, this.#heldUntilMs.get(order) ?? 0));
    const left = (this.#left.get(order) ?? 1) - 1;
    this.#left.set(order, left);
    if (left === 0) this.#through.update((count) => count + 1);
  }

  /** Infinite while others are before it. */
  #waitMs(vmId: string): number {
    const place = this.#places.get(vmId);
    if (place === undefined) return 0;
    let waitMs = 0;
    for (const [order, left] of this.#left) {
      if (order >= place.order) continue;
      if (left > 0) return Number.POSITIVE_INFINITY;
      waitMs = Math.max(waitMs, (this.#heldUntilMs.get(order) ?? 0) - this.#clock.monotonicMs());
    }
    return waitMs;
  }
}
