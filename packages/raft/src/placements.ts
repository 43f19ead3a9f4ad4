/**
 * Tells where in the log an accepted proposal came to stand. The core keeps the payload that it was given, so its
 * identity finds the proposal again among the entries of the next Ready; equal objects come back in their order.
 */
import type { Entry } from "./core/types.ts";

export class Placements {
  readonly #waiting = new Map<object, ((entry: Entry) => void)[]>();

  get size(): number {
    return this.#waiting.size;
  }

  expect(entry: PayloadOf, placed: (entry: Entry) => void): void {
    const identity = identityOf(entry);
    const same = this.#waiting.get(identity);
    if (same === undefined) this.#waiting.set(identity, [placed]);
    else same.push(placed);
  }

  place(entries: readonly Entry[]): void {
    if (this.#waiting.size === 0) return;
    for (const entry of entries) {
      const identity = identityOf(entry);
      const same = this.#waiting.get(identity);
      const placed = same?.shift();
      if (same?.length === 0) this.#waiting.delete(identity);
      placed?.(entry);
    }
  }

  clear(): void {
    this.#waiting.clear();
  }
}

type PayloadOf =
  | { readonly kind: "normal"; readonly data: Uint8Array }
  | { readonly kind: "confChange"; readonly change: object };

const identityOf = (entry: PayloadOf): object => (entry.kind === "normal" ? entry.data : entry.change);
