/**
 * Counts, gauges and histograms of one process, and their text for Prometheus (exposition format 0.0.4). A call on the way of
 * a write counts about forty times: a series is found by the values of its labels alone, and is a number that is added to.
 */
import { assert, type Labels, type MetricDeclaration, type Metrics } from "@blixard/common";

/** One metric with all its series. */
export interface MetricFamily {
  readonly metric: ReturnType<Metrics[keyof Metrics]>;
  /** Its lines, without a line feed at the end. */
  text(): string;
}

interface Value {
  value: number;
}

interface Buckets {
  /** How many values lay in each bucket, those above the last bound at the end. */
  readonly counts: number[];
  sum: number;
}

const bucketsDefault: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function counterFamily(declaration: MetricDeclaration): MetricFamily {
  const series = new SeriesOf<Value>(declaration, () => ({ value: 0 }));
  const metric: ReturnType<Metrics["counter"]> = {
    add: (value = 1, labels = {}) => {
      assert(value >= 0, "a counter never goes back");
      series.of(labels).value += value;
    },
  };
  return { metric, text: () => familyText(declaration, "counter", series.lines(valueLines)) };
}

export function gaugeFamily(declaration: MetricDeclaration): MetricFamily {
  const series = new SeriesOf<Value>(declaration, () => ({ value: 0 }));
  const metric: ReturnType<Metrics["gauge"]> = {
    set: (value, labels = {}) => {
      series.of(labels).value = value;
    },
    remove: (labels) => series.remove(labels),
  };
  return { metric, text: () => familyText(declaration, "gauge", series.lines(valueLines)) };
}

export function histogramFamily(declaration: MetricDeclaration): MetricFamily {
  const bounds = declaration.buckets ?? bucketsDefault;
  const series = new SeriesOf<Buckets>(declaration, () => ({ counts: [...bounds.map(() => 0), 0], sum: 0 }));
  const metric: ReturnType<Metrics["histogram"]> = {
    observe: (value, labels = {}) => {
      assert(Number.isFinite(value), "only what can be added up is observed");
      const buckets = series.of(labels);
      let at = 0;
      while (at < bounds.length && value > (bounds[at] ?? 0)) at++;
      buckets.counts[at] = (buckets.counts[at] ?? 0) + 1;
      buckets.sum += value;
    },
  };
  const lines = (name: string, labels: string, { counts, sum }: Buckets): string[] => {
    let count = 0;
    const written = counts.map((inBucket, at) => {
      count += inBucket;
      const bound = `le="${bounds[at] ?? "+Inf"}"`;
      return `${name}_bucket{${labels === "" ? bound : `${bound},${labels}`}} ${count}`;
    });
    return [...written, lineOf(`${name}_sum`, labels, sum), lineOf(`${name}_count`, labels, count)];
  };
  return { metric, text: () => familyText(declaration, "histogram", series.lines(lines)) };
}

/** The series of one metric. Without labels there is one, from the start. */
class SeriesOf<Data> {
  readonly #name: string;
  readonly #labelNames: readonly string[];
  readonly #make: () => Data;
  /** By the values of the labels. */
  readonly #all = new Map<string, { readonly labels: Labels; readonly data: Data }>();

  constructor({ name, labelNames = [] }: MetricDeclaration, make: () => Data) {
    this.#name = name;
    this.#labelNames = labelNames;
    this.#make = make;
    if (labelNames.length === 0) this.of({});
  }

  of(labels: Labels): Data {
    const key = this.#keyOf(labels);
    const known = this.#all.get(key);
    if (known !== undefined) return known.data;
    const others = Object.keys(labels).filter((label) => !this.#labelNames.includes(label));
    assert(others.length === 0, `the metric ${this.#name} has no label ${others.join()}`);
    const data = this.#make();
    this.#all.set(key, { labels: { ...labels }, data });
    return data;
  }

  remove(labels: Labels): void {
    this.#all.delete(this.#keyOf(labels));
  }

  lines(write: (name: string, labels: string, data: Data) => readonly string[]): string[] {
    return [...this.#all.values()].flatMap(({ labels, data }) => write(this.#name, labelsText(labels), data));
  }

  #keyOf(labels: Labels): string {
    const names = this.#labelNames;
    if (names.length < 2) return labels[names[0] ?? ""] ?? "";
    let key = "";
    for (const name of names) key += `${labels[name] ?? ""}\0`;
    return key;
  }
}

function valueLines(name: string, labels: string, { value }: Value): readonly string[] {
  return [lineOf(name, labels, value)];
}

function lineOf(name: string, labels: string, value: number): string {
  return `${name}${labels === "" ? "" : `{${labels}}`} ${numberText(value)}`;
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (Number.isFinite(value)) return `${value}`;
  return value < 0 ? "-Inf" : "+Inf";
}

function labelsText(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value).replaceAll('"', '\\"')}"`)
    .join(",");
}

function familyText({ name, help }: MetricDeclaration, type: string, lines: readonly string[]): string {
  return [`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${type}`, ...lines].join("\n");
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
