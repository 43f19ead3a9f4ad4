/** The metrics of RaftNode. */
import type { Counter, Gauge, Histogram, MetricDeclaration, Metrics } from "@blixard/common";

const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

const declarations = {
  term: { name: "blixard_raft_term", help: "Current term." },
  leader: { name: "blixard_raft_is_leader", help: "1 on the leader, else 0." },
  commitIndex: { name: "blixard_raft_commit_index", help: "Index of the last committed entry." },
  appliedIndex: { name: "blixard_raft_applied_index", help: "Index of the last applied entry." },
  logEntries: { name: "blixard_raft_log_entries", help: "Entries retained in the log." },
  logBytes: { name: "blixard_raft_log_bytes", help: "Bytes of the entries retained in the log." },
  proposals: {
    name: "blixard_raft_proposals_total",
    help: "Proposals by outcome: applied or the code of the error.",
    labelNames: ["outcome"],
  },
  droppedMessages: {
    name: "blixard_raft_messages_dropped_total",
    help: "Messages of peers that were dropped: inbox_full, wrong_sender or refused.",
    labelNames: ["reason"],
  },
  appendDuration: {
    name: "blixard_raft_append_duration_seconds",
    help: "Time from handing entries to the log until they are durable.",
    buckets: durationBuckets,
  },
  applyDuration: {
    name: "blixard_raft_apply_duration_seconds",
    help: "Time to apply a batch of committed entries.",
    buckets: durationBuckets,
  },
  snapshots: {
    name: "blixard_raft_snapshots_total",
    help: "Snapshots by kind: taken, sent, send_failed, received or restored.",
    labelNames: ["kind"],
  },
} as const satisfies Readonly<Record<string, MetricDeclaration>>;

export interface RaftMetrics {
  readonly term: Gauge;
  readonly leader: Gauge;
  readonly commitIndex: Gauge;
  readonly appliedIndex: Gauge;
  readonly logEntries: Gauge;
  readonly logBytes: Gauge;
  readonly proposals: Counter;
  readonly droppedMessages: Counter;
  readonly appendDuration: Histogram;
  readonly applyDuration: Histogram;
  readonly snapshots: Counter;
}

export function declareRaftMetrics(metrics: Metrics): RaftMetrics {
  return {
    term: metrics.gauge(declarations.term),
    leader: metrics.gauge(declarations.leader),
    commitIndex: metrics.gauge(declarations.commitIndex),
    appliedIndex: metrics.gauge(declarations.appliedIndex),
    logEntries: metrics.gauge(declarations.logEntries),
    logBytes: metrics.gauge(declarations.logBytes),
    proposals: metrics.counter(declarations.proposals),
    droppedMessages: metrics.counter(declarations.droppedMessages),
    appendDuration: metrics.histogram(declarations.appendDuration),
    applyDuration: metrics.histogram(declarations.applyDuration),
    snapshots: metrics.counter(declarations.snapshots),
  };
}
