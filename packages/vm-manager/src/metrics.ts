/** Metrics of the VM manager. */
import type { MetricDeclaration } from "@blixard/common";

export const startsMetric: MetricDeclaration = {
  name: "blixard_vm_starts_total",
  help: "Instances that were started, by driver.",
  labelNames: ["driver"],
};

export const exitsMetric: MetricDeclaration = {
  name: "blixard_vm_exits_total",
  help: "Instances that ended, by reason.",
  labelNames: ["reason"],
};

export const startSecondsMetric: MetricDeclaration = {
  name: "blixard_vm_start_duration_seconds",
  help: "Time from the decision to start until the VM's process answered.",
  buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
};
