/** Metrics for tests: what was counted, and to what gauges were set, by name and labels. */
import type { Labels, Metrics } from "@blixard/common";

export class CountingMetrics implements Metrics {
  readonly #values = new Map<string, number>();

  counter({ name }: { readonly name: string }) {
    return {
      add: (value = 1, labels: Labels = {}) => {
        const key = keyOf(name, labels);
        this.#values.set(key, this.count(key) + value);
      },
    };
  }

  gauge({ name }: { readonly name: string }) {
    return {
      set: (value: number, labels: Labels = {}) => void this.#values.set(keyOf(name, labels), value),
      remove: (labels: Labels) => void this.#values.delete(keyOf(name, labels)),
    };
  }

  histogram() {
    return { observe: () => {} };
  }

  /** For example `count("blixard_bulk_refusals_total unknown_peer")`. */
  count(key: string): number {
    return this.#values.get(key) ?? 0;
  }
}

function keyOf(name: string, labels: Labels): string {
  return [name, ...Object.values(labels)].join(" ");
}
