/** Tunables of RaftNode, with their defaults. All of them have a unit in their name or are plain counts. */
import { assert, assertAtMost, assertBelow, BlixardError } from "@blixard/common";
import type { LogIndex, NodeId, Term } from "./core/types.ts";

export interface RaftNodeOptions {
  readonly id: NodeId;
  /**
   * Only for the first voters of a new group, and the same list on each of them: an empty log starts with these
   * voters. Absent: a node with an empty log waits for a leader to send it entries or a snapshot.
   */
  readonly bootstrap?: { readonly voters: readonly NodeId[] };
  /**
   * For a member that lost its log and was admitted again with the same id: an entry that was committed at that time.
   * Until the member has applied that entry it neither campaigns nor votes, because the log leads it through older
   * configurations in which it was a voter.
   */
  readonly admission?: { readonly index: LogIndex; readonly term: Term };
  /** Milliseconds between two ticks of the core. Default: 100, or half a heartbeat where that is shorter. */
  readonly tickIntervalMs?: number;
  /** Milliseconds without a leader before an election; up to as much again is added at random. Default: 1,000. */
  readonly electionTimeoutMs?: number;
  /** Milliseconds between two heartbeats of a leader, most of what a node at rest does. Default: 200. */
  readonly heartbeatIntervalMs?: number;
  /** Ask whether an election can be won before disturbing the leader (thesis section 9.6). Default: true. */
  readonly preVote?: boolean;
  /** A leader that hears from no quorum for an election timeout steps down. Default: true. */
  readonly checkQuorum?: boolean;
  /** Applied entries after which a snapshot is taken by itself. Default: 10,000; 0 means never by count. */
  readonly snapshotEntries?: number;
  /**
   * Bytes of retained log, all of it in memory, after which a snapshot is taken by itself. While that snapshot is slow
   * the log may grow to six times as much; then entries are refused until it is there. Default: 32 MiB.
   */
  readonly logBytesMax?: number;
  /**
   * Send proposals that are made on a follower to its leader, and take those of followers; the same on each node.
   * Default: true.
   */
  readonly forwardProposals?: boolean;
  /** Milliseconds before a forwarded proposal without an answer is sent again. Default: half an election timeout. */
  readonly forwardRetryMs?: number;
  /** Copies of a forwarded proposal that are sent before its outcome counts as unknown. Default: 10. */
  readonly forwardTriesMax?: number;
  /**
   * Let a leader answer reads with the consistency "lease" by itself; the same on each node. A node then does not vote
   * in its first election timeout after a restart, because it may have promised a lease. Default: false.
   */
  readonly leaseReads?: boolean;
  /** Entries before a snapshot that stay in the log, so that a slow follower needs no snapshot. Default: 1,000. */
  readonly trailingEntries?: number;
  /** Bytes of state in one message of a snapshot. Default: 256 KiB. */
  readonly snapshotChunkBytes?: number;
  /** Bytes of the largest snapshot that is accepted. Default: 16 GiB. */
  readonly snapshotBytesMax?: number;
  /** Milliseconds without an answer before a chunk is sent again. Default: 1,000. */
  readonly snapshotRetryMs?: number;
  /** Repetitions without any answer before a transfer pauses until the peer answers a heartbeat. Default: 10. */
  readonly snapshotRetriesMax?: number;
  /** Milliseconds without a chunk for which a receiver keeps what it has of a snapshot. Default: 10 minutes. */
  readonly snapshotKeepMs?: number;
  /** Proposals that wait for their outcome. More are refused with OVERLOADED. Default: 8,192. */
  readonly proposalsInFlightMax?: number;
  /** Bytes of those proposals. Default: 32 MiB. */
  readonly proposalBytesInFlightMax?: number;
  /** Reads that wait. More are refused with OVERLOADED. Default: 16,384. */
  readonly readsInFlightMax?: number;
  /** Milliseconds before a read that no leader answered is asked again. Default: half an election timeout. */
  readonly readRetryMs?: number;
  /** Milliseconds before a read without a signal of its own is rejected with UNAVAILABLE. Default: 10,000. */
  readonly readTimeoutMs?: number;
  /** Messages of peers that wait for the loop. More are dropped and counted. Default: 8,192. */
  readonly inboxMessagesMax?: number;
  /** Bytes of entries in one append message. Default: 1 MiB. */
  readonly appendMessageBytesMax?: number;
  /** Append messages in flight to one peer. Default: 256. */
  readonly appendMessagesInFlightMax?: number;
  /** Bytes of entries in flight to one peer. Default: 32 MiB. */
  readonly appendBytesInFlightMax?: number;
  /** Bytes of committed entries that are handed to the state machine at once. Default: 4 MiB. */
  readonly applyBytesMax?: number;
  /**
   * Bytes of changes that are applied, answered and not stored yet. At this many nothing more is applied until the disk
   * has taken them. Default: 8 MiB.
   */
  readonly stateBacklogBytesMax?: number;
  /** Milliseconds of one write of log or state, or of a snapshot without progress, until a warning. Default: 1,000. */
  readonly diskWarnMs?: number;
  /** Milliseconds of one write of log or state after which a leader hands its leadership over. Default: 2,000. */
  readonly diskStepDownMs?: number;
  /**
   * Milliseconds of one write of log or state after which the node stops with STORAGE_FAILED. A snapshot may make no
   * progress for 15 times as long. Default: 20,000.
   */
  readonly diskFatalMs?: number;
}

type Optional = "bootstrap" | "admission";
export type ResolvedOptions = Required<Omit<RaftNodeOptions, Optional>> & Pick<RaftNodeOptions, Optional>;

const mayBeZero = new Set(["snapshotEntries", "trailingEntries"]);
const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

/** What an option is that nobody gives; the others depend on those that are given. */
export const raftDefaults = {
  tickIntervalMs: 100,
  electionTimeoutMs: 1_000,
  heartbeatIntervalMs: 200,
  preVote: true,
  checkQuorum: true,
  forwardProposals: true,
  forwardTriesMax: 10,
  leaseReads: false,
  snapshotEntries: 10_000,
  logBytesMax: 32 * mebibyte,
  trailingEntries: 1_000,
  snapshotChunkBytes: 256 * kibibyte,
  snapshotBytesMax: 16 * kibibyte * mebibyte,
  snapshotRetryMs: 1_000,
  snapshotRetriesMax: 10,
  snapshotKeepMs: 10 * 60_000,
  proposalsInFlightMax: 8_192,
  proposalBytesInFlightMax: 32 * mebibyte,
  readsInFlightMax: 16_384,
  readTimeoutMs: 10_000,
  inboxMessagesMax: 8_192,
  appendMessageBytesMax: mebibyte,
  appendMessagesInFlightMax: 256,
  appendBytesInFlightMax: 32 * mebibyte,
  applyBytesMax: 4 * mebibyte,
  stateBacklogBytesMax: 8 * mebibyte,
  diskWarnMs: 1_000,
  diskStepDownMs: 2_000,
  diskFatalMs: 20_000,
} as const satisfies RaftOptions;

type RaftOptions = Omit<RaftNodeOptions, "id" | Optional>;
type RaftLimits = {
  readonly [Name in keyof typeof raftDefaults]: (typeof raftDefaults)[Name] extends number ? number : boolean;
};

/** Fails where defaults that depend on each other contradict each other. */
export function assertRaftDefaults(of: RaftLimits): void {
  const { tickIntervalMs, heartbeatIntervalMs, electionTimeoutMs, readTimeoutMs } = of;
  assertAtMost({ tickIntervalMs }, { heartbeatIntervalMs }, "a heartbeat is a whole number of ticks");
  assertBelow(
    { "2 * heartbeatIntervalMs": 2 * heartbeatIntervalMs },
    { electionTimeoutMs },
    "a lost heartbeat must not start an election",
  );
  assertBelow({ electionTimeoutMs }, { readTimeoutMs }, "a read outlives an election");
  const { appendMessageBytesMax, appendBytesInFlightMax, proposalBytesInFlightMax, logBytesMax, applyBytesMax } = of;
  assertAtMost(
    { appendMessageBytesMax },
    { appendBytesInFlightMax, proposalBytesInFlightMax, logBytesMax, applyBytesMax },
    "each of them holds what one message appends",
  );
  const { stateBacklogBytesMax } = of;
  assertAtMost({ applyBytesMax }, { stateBacklogBytesMax }, "what is applied together is stored together");
  const { snapshotChunkBytes, snapshotBytesMax, trailingEntries, snapshotEntries, snapshotKeepMs } = of;
  assertAtMost({ snapshotChunkBytes }, { snapshotBytesMax }, "a snapshot is made of chunks");
  assertAtMost({ trailingEntries }, { snapshotEntries }, "a snapshot lets entries go");
  assertBelow(
    { "snapshotRetryMs * snapshotRetriesMax": of.snapshotRetryMs * of.snapshotRetriesMax },
    { snapshotKeepMs },
    "a receiver keeps what it has for as long as its sender tries",
  );
  const { diskWarnMs, diskStepDownMs, diskFatalMs } = of;
  assertBelow({ diskWarnMs }, { diskStepDownMs }, "a slow disk is told of before the leader steps down");
  assertBelow({ diskStepDownMs }, { diskFatalMs }, "a leader steps down before it stops");
}

assertRaftDefaults(raftDefaults);

/** @throws INVALID_ARGUMENT */
export function resolveOptions(options: RaftNodeOptions): ResolvedOptions {
  const { electionTimeoutMs = raftDefaults.electionTimeoutMs } = options;
  const { heartbeatIntervalMs: heartbeatMs = raftDefaults.heartbeatIntervalMs } = options;
  const resolved: ResolvedOptions = {
    ...raftDefaults,
    tickIntervalMs:
      heartbeatMs > 0 ? Math.min(raftDefaults.tickIntervalMs, heartbeatMs / 2) : raftDefaults.tickIntervalMs,
    forwardRetryMs: electionTimeoutMs / 2,
    readRetryMs: electionTimeoutMs / 2,
    ...options,
    electionTimeoutMs,
  };
  for (const [name, value] of Object.entries(resolved)) {
    if (typeof value !== "number" || mayBeZero.has(name)) continue;
    if (!(value > 0)) throw new BlixardError("INVALID_ARGUMENT", `${name} must be above 0, not ${value}`);
  }
  if (resolved.leaseReads && !resolved.checkQuorum) {
    throw new BlixardError("INVALID_ARGUMENT", "leaseReads needs checkQuorum");
  }
  const { electionTicks, heartbeatTicks } = ticksOf(resolved);
  if (electionTicks > heartbeatTicks) return resolved;
  throw new BlixardError("INVALID_ARGUMENT", "electionTimeoutMs must be longer than heartbeatIntervalMs");
}

export function ticksOf(options: ResolvedOptions): { readonly electionTicks: number; readonly heartbeatTicks: number } {
  const { tickIntervalMs, electionTimeoutMs, heartbeatIntervalMs } = options;
  assert(tickIntervalMs > 0, "tickIntervalMs must be above 0");
  return {
    electionTicks: Math.max(2, Math.round(electionTimeoutMs / tickIntervalMs)),
    heartbeatTicks: Math.max(1, Math.round(heartbeatIntervalMs / tickIntervalMs)),
  };
}
