/** The Metrics port on prom-client. */
import { assert, type Metrics } from "@blixard/common";
import { Counter, collectDefaultMetrics, Gauge, Histogram, type Metric, Registry } from "prom-client";

export interface PromMetrics extends Metrics {
  /** All metrics in the Prometheus text format. */
  text(): Promise<string>;
}

/** A registry of its own, so that two nodes in one process do not share counts. */
export function createPromMetrics(): PromMetrics {
  const registry = new Registry();
  const made = new Map<string, Metric>();
  collectDefaultMetrics({ register: registry, prefix: "blixard_" });

  // The same declaration may come again, for example from each of several sessions; it is the same metric then.
  const once = <M extends Metric>(name: string, make: () => M): M => {
    assert(name.startsWith("blixard_"), `the metric ${name} starts with blixard_`);
    const metric = (made.get(name) as M | undefined) ?? make();
    made.set(name, metric);
    return metric;
  };
  return {
    counter(declaration) {
      const metric = once(declaration.name, () => new Counter(configuration(declaration, registry)));
      return { add: (value = 1, labels = {}) => metric.inc(labels, value) };
    },
    gauge(declaration) {
      const metric = once(declaration.name, () => new Gauge(configuration(declaration, registry)));
      return {
        set: (value, labels = {}) => metric.set(labels, value),
        remove: (labels) => metric.remove(labels),
      };
    },
    histogram(declaration) {
      const buckets = declaration.buckets === undefined ? {} : { buckets: [...declaration.buckets] };
      const metric = once(
        declaration.name,
        () => new Histogram({ ...configuration(declaration, registry), ...buckets }),
      );
      return { observe: (value, labels = {}) => metric.observe(labels, value) };
    },
    text: () => registry.metrics(),
  };
}

function configuration(
  declaration: { readonly name: string; readonly help: string; readonly labelNames?: readonly string[] },
  registry: Registry,
) {
  const { name, help, labelNames = [] } = declaration;
  return { name, help, labelNames: [...labelNames], registers: [registry] };
}
