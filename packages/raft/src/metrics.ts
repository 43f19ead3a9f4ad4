/** The metrics of RaftNode. */
import type { Counter, Gauge, Histogram, MetricDeclaration, Metrics } from "@blixard/common";
import type { RaftNodeStatus } from "./raft-node-types.ts";

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
    help: "Messages of peers that were dropped: inbox_full, log_full, wrong_sender, lease or refused.",
    labelNames: ["reason"],
  },
  proposalDuration: {
    name: "blixard_raft_proposal_duration_seconds",
    help: "Time from a proposal on this node to its outcome.",
    buckets: durationBuckets,
  },
  proposalsWaiting: { name: "blixard_raft_proposals_waiting", help: "Proposals on this node without an outcome." },
  forwardedProposals: {
    name: "blixard_raft_proposals_forwarded_total",
    help: "Proposals on their way from a follower to the leader: sent or received.",
    labelNames: ["direction"],
  },
  reads: {
    name: "blixard_raft_reads_total",
    help: "Reads by how they were answered: quorum, lease or stale.",
    labelNames: ["by"],
  },
  readsWaiting: { name: "blixard_raft_reads_waiting", help: "Reads on this node without an answer." },
  leaderChanges: { name: "blixard_raft_leader_changes_total", help: "How often this node learned of another leader." },
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
  snapshotBytes: {
    name: "blixard_raft_snapshot_bytes_total",
    help: "Bytes of snapshots between nodes: sent or received.",
    labelNames: ["direction"],
  },
  snapshotDuration: {
    name: "blixard_raft_snapshot_duration_seconds",
    help: "Time to take a snapshot and compact the log behind it.",
    buckets: durationBuckets,
  },
  diskStall: {
    name: "blixard_raft_oldest_write_seconds",
    help: "Age of the oldest write of log or state that has not ended, at the last tick.",
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
  readonly proposalDuration: Histogram;
  readonly proposalsWaiting: Gauge;
  readonly forwardedProposals: Counter;
  readonly reads: Counter;
  readonly readsWaiting: Gauge;
  readonly leaderChanges: Counter;
  readonly appendDuration: Histogram;
  readonly applyDuration: Histogram;
  readonly snapshots: Counter;
  readonly snapshotBytes: Counter;
  readonly snapshotDuration: Histogram;
  readonly diskStall: Gauge;
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
    proposalDuration: metrics.histogram(declarations.proposalDuration),
    proposalsWaiting: metrics.gauge(declarations.proposalsWaiting),
    forwardedProposals: metrics.counter(declarations.forwardedProposals),
    reads: metrics.counter(declarations.reads),
    readsWaiting: metrics.gauge(declarations.readsWaiting),
    leaderChanges: metrics.counter(declarations.leaderChanges),
    appendDuration: metrics.histogram(declarations.appendDuration),
    applyDuration: metrics.histogram(declarations.applyDuration),
    snapshots: metrics.counter(declarations.snapshots),
    snapshotBytes: metrics.counter(declarations.snapshotBytes),
    snapshotDuration: metrics.histogram(declarations.snapshotDuration),
    diskStall: metrics.gauge(declarations.diskStall),
  };
}

export function setStatusMetrics(
  metrics: RaftMetrics,
  { term, role, commitIndex, appliedIndex }: RaftNodeStatus,
  log: { readonly length: number; readonly bytes: number },
): void {
  metrics.term.set(term);
  metrics.leader.set(role === "StateLeader" ? 1 : 0);
  metrics.commitIndex.set(commitIndex);
  metrics.appliedIndex.set(appliedIndex);
  metrics.logEntries.set(log.length);
  metrics.logBytes.set(log.bytes);
}

/** The gauges that are set once a tick. */
export function setTickMetrics(
  metrics: RaftMetrics,
  { proposals, reads, oldestMs }: { readonly proposals: number; readonly reads: number; readonly oldestMs: number },
): void {
  metrics.proposalsWaiting.set(proposals);
  metrics.readsWaiting.set(reads);
  metrics.diskStall.set(oldestMs / 1_000);
}
