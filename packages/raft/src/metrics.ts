/** The metrics of RaftNode. */
import { type BoundMetrics, bindMetrics, type MetricDeclarations, type Metrics } from "@blixard/common";
import type { RaftNodeStatus } from "./raft-node-types.ts";

const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

const dropReasons = ["inbox_full", "log_full", "wrong_sender", "lease", "refused"] as const;
/** Why a message of a peer was dropped. */
export type DropReason = (typeof dropReasons)[number];

const declarations = {
  term: { type: "gauge", name: "blixard_raft_term", help: "Current term." },
  leader: { type: "gauge", name: "blixard_raft_is_leader", help: "1 on the leader, else 0." },
  commitIndex: { type: "gauge", name: "blixard_raft_commit_index", help: "Index of the last committed entry." },
  appliedIndex: { type: "gauge", name: "blixard_raft_applied_index", help: "Index of the last applied entry." },
  logEntries: { type: "gauge", name: "blixard_raft_log_entries", help: "Entries retained in the log." },
  logBytes: { type: "gauge", name: "blixard_raft_log_bytes", help: "Bytes of the entries retained in the log." },
  proposals: {
    type: "counter",
    name: "blixard_raft_proposals_total",
    help: "Proposals by outcome: applied or the code of the error.",
    labels: { outcome: "any" },
  },
  droppedMessages: {
    type: "counter",
    name: "blixard_raft_messages_dropped_total",
    help: "Messages of peers that were dropped: inbox_full, log_full, wrong_sender, lease or refused.",
    labels: { reason: dropReasons },
  },
  proposalDuration: {
    type: "histogram",
    name: "blixard_raft_proposal_duration_seconds",
    help: "Time from a proposal on this node to its outcome.",
    buckets: durationBuckets,
  },
  proposalsWaiting: {
    type: "gauge",
    name: "blixard_raft_proposals_waiting",
    help: "Proposals on this node without an outcome.",
  },
  forwardedProposals: {
    type: "counter",
    name: "blixard_raft_proposals_forwarded_total",
    help: "Proposals on their way from a follower to the leader: sent or received.",
    labels: { direction: ["sent", "received"] },
  },
  reads: {
    type: "counter",
    name: "blixard_raft_reads_total",
    help: "Reads by how they were answered: quorum, lease or stale.",
    labels: { by: ["quorum", "lease", "stale"] },
  },
  readsWaiting: { type: "gauge", name: "blixard_raft_reads_waiting", help: "Reads on this node without an answer." },
  leaderChanges: {
    type: "counter",
    name: "blixard_raft_leader_changes_total",
    help: "How often this node learned of another leader.",
  },
  appendDuration: {
    type: "histogram",
    name: "blixard_raft_append_duration_seconds",
    help: "Time of one write of the log until it is durable. Several proposals share a write.",
    buckets: durationBuckets,
  },
  appendedEntries: {
    type: "counter",
    name: "blixard_raft_appended_entries_total",
    help: "Entries that were written to the log; by the count of blixard_raft_append_duration_seconds, those of one write.",
  },
  applyDuration: {
    type: "histogram",
    name: "blixard_raft_apply_duration_seconds",
    help: "Time to apply a batch of committed entries.",
    buckets: durationBuckets,
  },
  snapshots: {
    type: "counter",
    name: "blixard_raft_snapshots_total",
    help: "Snapshots by kind: taken, sent, send_failed, received or restored.",
    labels: { kind: ["taken", "sent", "send_failed", "received", "restored"] },
  },
  snapshotBytes: {
    type: "counter",
    name: "blixard_raft_snapshot_bytes_total",
    help: "Bytes of snapshots between nodes: sent or received.",
    labels: { direction: ["sent", "received"] },
  },
  snapshotDuration: {
    type: "histogram",
    name: "blixard_raft_snapshot_duration_seconds",
    help: "Time to take a snapshot and compact the log behind it.",
    buckets: durationBuckets,
  },
  diskStall: {
    type: "gauge",
    name: "blixard_raft_oldest_write_seconds",
    help: "Age of the oldest write of log or state that has not ended, at the last tick.",
  },
} as const satisfies MetricDeclarations;

export type RaftMetrics = BoundMetrics<typeof declarations>;

export function bindRaftMetrics(metrics: Metrics): RaftMetrics {
  return bindMetrics(metrics, declarations);
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
