/** What users of RaftNode see: options, dependencies, outcomes and status. */
import type { Clock, Logger, Metrics, Random } from "@blixard/common";
import type { ConfChange, ConfState, LogIndex, NodeId, Role, Status, Term } from "./core/types.ts";
import type { LogStore, PeerTransport, SnapshotStore, StateMachine } from "./ports.ts";

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
  /** A leader that has applied an entry of its own term, and so may decide. */
  readonly ready: boolean;
}

/**
 * One member of a Raft group.
 *
 * Errors: NOT_LEADER (details.leaderId), PROPOSAL_DROPPED (not_applied), OUTCOME_UNKNOWN (unknown), CONFLICT for a
 * refused configuration change, UNAVAILABLE when no leader answers a read, STOPPED after close, and
 * DEADLINE_EXCEEDED or CANCELLED by the caller's signal.
 */
export interface RaftNodeApi<Result> {
  /** Opens the ports, replays what was committed and starts the loop. */
  start(): Promise<void>;
  /** Appends `data` and resolves when this node applied it. Leader only. */
  propose(data: Uint8Array, options?: { readonly signal?: AbortSignal }): Promise<Applied<Result>>;
  proposeConfChange(change: ConfChange, options?: { readonly signal?: AbortSignal }): Promise<ConfState>;
  /** Resolves with an applied index at which a read of the local state is linearizable; works on any member. */
  readIndex(options?: { readonly signal?: AbortSignal }): Promise<LogIndex>;
  transferLeader(to: NodeId, options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Takes a snapshot now and compacts the log behind it. Resolves with its index. */
  takeSnapshot(): Promise<LogIndex>;
  /** The latest status; wait on it rather than poll. */
  readonly status: { readonly value: RaftNodeStatus; until: StatusUntil };
  /** The core's own view, with the progress of each peer on a leader. */
  coreStatus(): Status;
  /** Stops the loop and rejects what waits; closes the ports that were given in `deps`. */
  close(): Promise<void>;
}

type StatusUntil = (
  holds: (status: RaftNodeStatus) => boolean,
  options?: { readonly signal?: AbortSignal },
) => Promise<RaftNodeStatus>;
