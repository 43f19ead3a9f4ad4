/** Reads the text format of Prometheus, as far as our nodes and etcd write it. */

/** The sum over all series of this name whose labels hold all of these; 0 for none. */
export function sumOfMetric(text: string, name: string, labels: Readonly<Record<string, string>> = {}): number {
  let sum = 0;
  for (const value of seriesOf(text, name, labels)) sum += value;
  return sum;
}

/** False where the page does not know the metric, which is not the same as 0, nor as one without any series yet. */
export function hasMetric(text: string, name: string): boolean {
  return text.includes(`# TYPE ${name} `) || !seriesOf(text, name, {}).next().done;
}

function* seriesOf(text: string, name: string, labels: Readonly<Record<string, string>>): Generator<number, void> {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  for (const line of text.split("\n")) {
    if (!line.startsWith(name)) continue;
    const [, between, value] = /^(?:\{(.*)\})? (\S+)/.exec(line.slice(name.length)) ?? [];
    if (value === undefined) continue;
    const held = (between ?? "").split(",");
    if (wanted.every((pair) => held.includes(pair))) yield Number(value);
  }
}
