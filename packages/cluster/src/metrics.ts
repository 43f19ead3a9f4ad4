/** Metrics of the service and of the duties of a node. */
import type { Counter, Gauge, Histogram, Metrics } from "@blixard/common";

export interface ClusterMetrics {
  readonly calls: Counter;
  readonly callDuration: Histogram;
  readonly forwards: Counter;
  readonly dutyFailures: Counter;
  readonly members: Gauge;
  readonly vms: Gauge;
  readonly joinRequests: Counter;
  readonly joinsPending: Gauge;
  readonly startChecks: Counter;
}

export function declareClusterMetrics(metrics: Metrics): ClusterMetrics {
  return {
    calls: metrics.counter({
      name: "blixard_service_calls_total",
      help: "Service calls that ended on this node, by method and by error code (OK for success).",
      labelNames: ["method", "code"],
    }),
    callDuration: metrics.histogram({
      name: "blixard_service_call_duration_seconds",
      help: "Time from a call until its answer, forwarding included.",
      labelNames: ["method"],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    }),
    forwards: metrics.counter({
      name: "blixard_service_forwards_total",
      help: "Calls that this node passed on to another one.",
      labelNames: ["method"],
    }),
    dutyFailures: metrics.counter({
      name: "blixard_duty_failures_total",
      help: "Rounds of background work that failed and are tried again.",
      labelNames: ["duty"],
    }),
    joinRequests: metrics.counter({
      name: "blixard_join_requests_total",
      help: "Requests of strangers to join or to redeem a ticket, by the error code of the answer (OK for success).",
      labelNames: ["code"],
    }),
    joinsPending: metrics.gauge({
      name: "blixard_joins_pending",
      help: "Machines that asked this node, as the leader, to join without a ticket and wait for an operator.",
    }),
    startChecks: metrics.counter({
      name: "blixard_start_checks_total",
      help: "Members that asked this node at their start, by the verdict: fits, or refused as behind, other or running.",
      labelNames: ["verdict"],
    }),
    members: metrics.gauge({ name: "blixard_cluster_nodes", help: "Nodes in the replicated state." }),
    vms: metrics.gauge({
      name: "blixard_cluster_vms",
      help: "VMs in the replicated state, by phase.",
      labelNames: ["phase"],
    }),
  };
}
