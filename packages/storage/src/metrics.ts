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
  scrubbedBytes: {
    type: "counter",
    name: "blixard_storage_scrubbed_bytes_total",
    help: "Bytes of snapshots, log and state that the background check has read.",
  },
  scrubPasses: {
    type: "counter",
    name: "blixard_storage_scrub_passes_total",
    help: "How often the background check has read everything.",
  },
} as const satisfies MetricDeclarations;

export type StorageMetrics = BoundMetrics<typeof declarations>;

export function bindStorageMetrics(metrics: Metrics): StorageMetrics {
  return bindMetrics(metrics, declarations);
}
