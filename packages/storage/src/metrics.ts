/** The metrics of a store. */
import { type BoundMetrics, bindMetrics, type MetricDeclarations, type Metrics } from "@blixard/common";

const declarations = {
  corruptions: {
    type: "counter",
    name: "blixard_storage_corruptions_total",
    help: "Damaged places that were found in the log, the state and the snapshots.",
  },
  repairs: {
    type: "counter",
    name: "blixard_storage_repairs_total",
    help: "Damaged places that hold again what they held, or were made anew.",
  },
  refusedAnswers: {
    type: "counter",
    name: "blixard_storage_repair_answers_refused_total",
    help: "Answers of peers that were not the entries which the log had lost.",
  },
} as const satisfies MetricDeclarations;

export type StorageMetrics = BoundMetrics<typeof declarations>;

export function bindStorageMetrics(metrics: Metrics): StorageMetrics {
  return bindMetrics(metrics, declarations);
}
