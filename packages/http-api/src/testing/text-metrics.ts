/** Metrics that a test reads as text: one line for each counter and gauge and its labels, as Prometheus writes them. */
import { discardMetrics, type Labels, type Metrics } from "@blixard/common";

export class TextMetrics implements Metrics {
  readonly #values = new Map<string, number>();
  readonly histogram = discardMetrics.histogram;
  readonly #onGauge: (name: string, value: number) => void;

  /** `onGauge` is told of each value that a gauge is set to. */
  constructor(onGauge: (name: string, value: number) => void = () => {}) {
    this.#onGauge = onGauge;
  }

  counter({ name }: { readonly name: string }) {
    return {
      add: (value = 1, labels: Labels = {}) => {
        const line = lineOf(name, labels);
        this.#values.set(line, (this.#values.get(line) ?? 0) + value);
      },
    };
  }

  gauge({ name }: { readonly name: string }) {
    return {
      set: (value: number, labels: Labels = {}) => {
        this.#values.set(lineOf(name, labels), value);
        this.#onGauge(name, value);
      },
      remove: (labels: Labels) => void this.#values.delete(lineOf(name, labels)),
    };
  }

  text(): string {
    return [...this.#values].map(([line, value]) => `${line} ${value}\n`).join("");
  }
}

function lineOf(name: string, labels: Labels): string {
  const texts = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return texts.length === 0 ? name : `${name}{${texts.join(",")}}`;
}
