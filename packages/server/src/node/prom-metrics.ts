/** The Metrics port, with the text that Prometheus reads. What Node.js tells of its process comes from prom-client. */
import { assert, type MetricDeclaration, type Metrics } from "@blixard/common";
import { collectDefaultMetrics, Registry } from "prom-client";
import { counterFamily, gaugeFamily, histogramFamily, type MetricFamily } from "./metric-series.ts";

export interface PromMetrics extends Metrics {
  /** All metrics in the Prometheus text format. */
  text(): Promise<string>;
}

/** Metrics of their own, so that two nodes in one process do not share counts. */
export function createPromMetrics(): PromMetrics {
  const registry = new Registry();
  const made = new Map<string, MetricFamily>();
  // The delay of the event loop is measured by waking up so often: with the default, that is most of what a node does at rest.
  const eventLoopMonitoringPrecision = 50;
  collectDefaultMetrics({ register: registry, prefix: "blixard_", eventLoopMonitoringPrecision });

  // The same declaration may come again, for example from each of several sessions; it is the same metric then.
  const once = <Kind extends keyof Metrics>(make: (declaration: MetricDeclaration) => MetricFamily): Metrics[Kind] => {
    return ((declaration: MetricDeclaration) => {
      const { name } = declaration;
      assert(name.startsWith("blixard_"), `the metric ${name} starts with blixard_`);
      const family = made.get(name) ?? make(declaration);
      made.set(name, family);
      return family.metric;
    }) as Metrics[Kind];
  };
  return {
    counter: once<"counter">(counterFamily),
    gauge: once<"gauge">(gaugeFamily),
    histogram: once<"histogram">(histogramFamily),
    text: async () => {
      const families = [...made.values()].map((family) => family.text());
      return `${await registry.metrics()}\n${families.join("\n\n")}\n`;
    },
  };
}
