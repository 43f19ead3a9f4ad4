/** The metrics of the VM manager. */
import { type BoundMetrics, bindMetrics, type MetricDeclarations, type Metrics } from "@blixard/common";
import { dropReasons } from "./network/private/private-wall.ts";

const declarations = {
  starts: {
    type: "counter",
    name: "blixard_vm_starts_total",
    help: "Instances that were started, by driver.",
    labels: { driver: "any" },
  },
  exits: {
    type: "counter",
    name: "blixard_vm_exits_total",
    help: "Instances that ended, by reason.",
    labels: {
      reason: [
        "guest-shutdown",
        "guest-reset",
        "guest-panic",
        "internal-error",
        "host-signal",
        "host-quit",
        "process-lost",
        "host-reboot",
        "driver-closed",
        "stop-requested",
        "fenced",
        "lease-lost",
        "boot-deadline",
        "unhealthy",
        "start-failed",
        "image-refused",
        "disk-missing",
        "driver-unsupported",
      ],
    },
  },
  framesDropped: {
    type: "counter",
    name: "blixard_vm_network_frames_dropped_total",
    help: "Frames in private networks that the switch of this node let go no further, by reason.",
    labels: { reason: dropReasons },
  },
  startDuration: {
    type: "histogram",
    name: "blixard_vm_start_duration_seconds",
    help: "Time from the decision to start until the VM's process answered.",
    buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  },
} as const satisfies MetricDeclarations;

export type VmMetrics = BoundMetrics<typeof declarations>;

export function bindVmMetrics(metrics: Metrics): VmMetrics {
  return bindMetrics(metrics, declarations);
}
