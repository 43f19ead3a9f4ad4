/** Metrics of a store. */
import type { Counter, Metrics } from "@blixard/common";

export interface StorageMetrics {
  readonly corruptions: Counter;
  readonly repairs: Counter;
  readonly refusedAnswers: Counter;
}

export function declareStorageMetrics(metrics: Metrics): StorageMetrics {
  return {
    corruptions: metrics.counter({
      name: "blixard_storage_corruptions_total",
      help: "Damaged places that were found in the log.",
    }),
    repairs: metrics.counter({
      name: "blixard_storage_repairs_total",
      help: "Damaged places of the log that hold again what they held.",
    }),
    refusedAnswers: metrics.counter({
      name: "blixard_storage_repair_answers_refused_total",
      help: "Answers of peers that were not the entries which the log had lost.",
    }),
  };
}
