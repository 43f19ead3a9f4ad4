/** What users of RaftNode see: options, dependencies, outcomes and status. */
import type { Clock, Logger, Metrics, Random } from "@blixard/common";
import type { ConfChange, ConfState, Entry, LogIndex, NodeId, Role, Status, Term } from "./core/types.ts";
import type { MemberProgress } from "./membership/member-progress.ts";
import type { RaftNodeEvent } from "./node-events.ts";
import type {
  LogRepairSource,
  LogStore,
  PeerTransport,
  SnapshotCarrier,
  SnapshotStore,
  StateMachine,
} from "./ports.ts";

/** The injected ports of one node. */
export interface RaftNodeDeps<Result> {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly log: LogStore;
  readonly snapshots: SnapshotStore;
  readonly stateMachine: StateMachine<Result>;
  readonly transport: PeerTransport;
  /** Default: snapshots travel in messages of `transport`. */
  readonly snapshotCarrier?: SnapshotCarrier;
  /**
   * Where the log store finds entries that its disk has lost when the node opens: the {@link RaftNode.readLog} of other
   * members, over calls of your own, because this node does not take part yet. Absent: damage ends the opening.
   */
  readonly repairFrom?: LogRepairSource;
  /** Called once when the node must stop: a write failed or an invariant broke. The owner ends the process. */
  readonly onFatal: (error: unknown) => void;
}

/** Result of an applied proposal, as the state machine returned it. */
export interface Applied<Result> {
  readonly index: LogIndex;
  readonly term: Term;
  readonly result: Result;
}

/** The latest observed state of a node; a new object whenever something in it changed. */
export interface RaftNodeStatus {
  readonly id: NodeId;
  readonly role: Role;
  readonly term: Term;
  /** 0 while no leader is known. */
  readonly leaderId: NodeId;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly lastLogIndex: LogIndex;
  readonly lastLogTerm: Term;
  readonly snapshotIndex: LogIndex;
  readonly confState: ConfState;
  /** Index of the entry that made `confState`; 0 when unknown. */
  readonly confIndex: LogIndex;
  /** True on a leader that has applied an entry of its own term: its state covers all that was acknowledged before. */
  readonly ready: boolean;
}

export interface SignalOptions {
  /** Aborting ends only the wait: what the call began may still happen. */
  readonly signal?: AbortSignal;
}

/**
 * How fresh a read is.
 *
 * - `linearizable`: the read covers every write that any node acknowledged before the read began. It costs one round trip
 *   to a quorum, which the reads that wait together share.
 * - `lease`: the same, as long as the clocks of different nodes run within a tenth of each other. A leader whose lease
 *   holds answers at once. Every other node, and a group without the option `leaseReads`, does a linearizable read.
 * - `stale`: the read covers what this node has applied, and is answered at once. It never goes back on one node, and may
 *   be old on a node that is cut off.
 */
export type ReadConsistency = "linearizable" | "lease" | "stale";

export interface ReadOptions extends SignalOptions {
  /** Default: linearizable. */
  readonly consistency?: ReadConsistency;
}

export interface ConfChangeOptions extends SignalOptions {
  /** Carries the change out even if the active voters would be no quorum afterwards. Default: false. */
  readonly force?: boolean;
}

export interface AddOptions extends ConfChangeOptions {
  /** A learner gets the log and has no vote. Default: voter. */
  readonly as?: "voter" | "learner";
  /** Called on each change of the progress. It must not throw. */
  readonly onProgress?: (progress: MemberProgress) => void;
  /** Milliseconds in which a new voter has to catch up. Default: 10 minutes. */
  readonly catchUpTimeoutMs?: number;
}

export interface CloseOptions {
  /**
   * Whether a leader hands its leadership over and waits for the outcome of open proposals before it closes, which
   * spares the others an election timeout. It waits for two election timeouts at most, and then closes anyway. Default:
   * false.
   */
  readonly transfer?: boolean;
}

/**
 * One member of a Raft group.
 *
 * Errors: NOT_LEADER (details.leaderId), PROPOSAL_DROPPED and OVERLOADED (not_applied), OUTCOME_UNKNOWN (unknown),
 * CONFLICT for a refused configuration change, QUORUM_AT_RISK for one that would cost the quorum, UNAVAILABLE when no
 * leader answers a read, STOPPED after close, and DEADLINE_EXCEEDED or CANCELLED by the caller's signal.
 */
export interface RaftNode<Result> {
  /**
   * Appends `data` and resolves when this node has applied it. A follower forwards it to the leader, unless the option
   * `forwardProposals` is off. The caller must not change `data` after the call.
   */
  propose(data: Uint8Array, options?: SignalOptions): Promise<Applied<Result>>;
  /** Proposes one configuration change, as `propose` does. Resolves with the configuration when it is applied here. */
  proposeConfChange(change: ConfChange, options?: ConfChangeOptions): Promise<ConfState>;
  /**
   * Adds a member in one call: as a learner, and as a voter when it has caught up. Only the leader can do this; a call
   * on a new leader goes on where an earlier leader stopped. Resolves at once when the node is such a member already.
   * @throws QUORUM_AT_RISK, CONFLICT, NOT_LEADER, or DEADLINE_EXCEEDED, which says how far it came
   */
  add(id: NodeId, options?: AddOptions): Promise<ConfState>;
  /**
   * Removes a voter or a learner; works on any node. Resolves at once when it is no member.
   * @throws QUORUM_AT_RISK, CONFLICT
   */
  remove(id: NodeId, options?: ConfChangeOptions): Promise<ConfState>;
  /** Resolves when the local state is fresh enough to read, with its applied index; works on any member. */
  read(options?: ReadOptions): Promise<LogIndex>;
  /** A linearizable {@link RaftNode.read}. */
  readIndex(options?: SignalOptions): Promise<LogIndex>;
  transferLeader(to: NodeId, options?: SignalOptions): Promise<void>;
  /**
   * Returns the entries from `first` to `last` that are durable here and fit into `bytesMax`, but at least one. Returns
   * none when `first` was compacted or does not exist yet. The entries may be uncommitted, so they serve only to repair
   * another log.
   */
  readLog(first: LogIndex, last: LogIndex, bytesMax: number): readonly Entry[];
  /**
   * The configuration changes in the durable log that are not applied here, oldest first. They may not be committed: with
   * the configuration of the status they are all that the log says of who votes.
   */
  unappliedChanges(): readonly ConfChange[];
  /** Takes a snapshot now and compacts the log behind it. Resolves with its index. */
  takeSnapshot(): Promise<LogIndex>;
  /** The latest status; wait on it rather than poll. */
  readonly status: StatusView;
  /** The core's own view, with the progress of each peer on a leader. */
  coreStatus(): Status;
  /** Yields the events from now on, until `signal` aborts or the node closes. A slow reader learns what it missed. */
  events(options?: SignalOptions): AsyncIterable<RaftNodeEvent>;
  /** Stops the loop, rejects all open calls and closes the ports that were given in `deps`. */
  close(options?: CloseOptions): Promise<void>;
}

interface StatusView {
  readonly value: RaftNodeStatus;
  until(holds: (status: RaftNodeStatus) => boolean, options?: SignalOptions): Promise<RaftNodeStatus>;
  /** Calls `run` with the first later status for which `holds`. Returns what stops it. */
  whenNext(holds: (status: RaftNodeStatus) => boolean, run: (status: RaftNodeStatus) => void): () => void;
}
