/**
 * The plain values that cross the border of the Raft core. Indexes, terms and node ids are safe integers, and 0
 * means "none". Payloads are bytes that neither side changes after it handed them over.
 */
import type { Brand } from "@blixard/common";

export type NodeId = Brand<number, "NodeId">;
export type Term = Brand<number, "Term">;
export type LogIndex = Brand<number, "LogIndex">;

/** Says that `value` is a node id; it is asserted where it enters the core. */
export const asNodeId = (value: number): NodeId => value as NodeId;
export const asTerm = (value: number): Term => value as Term;
export const asLogIndex = (value: number): LogIndex => value as LogIndex;

export const noNode: NodeId = asNodeId(0);

/** Who sends each of them to whom, and what for, stands in the glossary of README.md in this folder. */
export type MessageType =
  | "MsgHup"
  | "MsgBeat"
  | "MsgProp"
  | "MsgApp"
  | "MsgAppResp"
  | "MsgVote"
  | "MsgVoteResp"
  | "MsgSnap"
  | "MsgHeartbeat"
  | "MsgHeartbeatResp"
  | "MsgUnreachable"
  | "MsgSnapStatus"
  | "MsgCheckQuorum"
  | "MsgTransferLeader"
  | "MsgTimeoutNow"
  | "MsgReadIndex"
  | "MsgReadIndexResp"
  | "MsgPreVote"
  | "MsgPreVoteResp"
  | "MsgStorageAppend"
  | "MsgStorageAppendResp"
  | "MsgStorageApply"
  | "MsgStorageApplyResp"
  | "MsgForgetLeader";

export interface ConfChangeOp {
  readonly op: "addVoter" | "addLearner" | "remove" | "update";
  readonly id: NodeId;
}

export interface ConfChange {
  /** 1: one change at a time (thesis section 4.1 to 4.2). 2: may use joint consensus (section 4.3). */
  readonly version: 1 | 2;
  /** How a joint configuration is left: auto and implicit leave by themselves; explicit waits for an empty change. */
  readonly transition: "auto" | "implicit" | "explicit";
  readonly changes: readonly ConfChangeOp[];
  readonly context?: Uint8Array;
}

export interface NormalEntry {
  readonly term: Term;
  readonly index: LogIndex;
  readonly kind: "normal";
  /** Empty in the entry that a new leader appends. */
  readonly data: Uint8Array;
}

export interface ConfChangeEntry {
  readonly term: Term;
  readonly index: LogIndex;
  readonly kind: "confChange";
  readonly change: ConfChange;
}

export type Entry = NormalEntry | ConfChangeEntry;

/** The voters, learners and, during joint consensus, the outgoing voters of a configuration. */
export interface ConfState {
  readonly voters: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Voters of the outgoing half that become learners when the joint configuration is left. */
  readonly learnersNext: readonly NodeId[];
  readonly autoLeave: boolean;
}

export interface Snapshot {
  readonly index: LogIndex;
  readonly term: Term;
  readonly confState: ConfState;
  /** Opaque to the core. RaftNode streams the state beside the message; between peers this may name another way. */
  readonly data: Uint8Array;
}

/** What must be durable before a promise that depends on it is sent. */
export interface HardState {
  readonly term: Term;
  readonly vote: NodeId;
  readonly commit: LogIndex;
}

export type Role = "StateFollower" | "StateCandidate" | "StateLeader" | "StatePreCandidate";

export interface SoftState {
  readonly lead: NodeId;
  readonly role: Role;
}

/** "append" and "apply" are the local storage threads of asynchronous storage writes. */
export type MessageTarget = NodeId | "append" | "apply";

export interface Message {
  readonly type: MessageType;
  readonly from: MessageTarget;
  readonly to: MessageTarget;
  readonly term: Term;
  readonly logTerm: Term;
  readonly index: LogIndex;
  readonly commit: LogIndex;
  readonly vote: NodeId;
  readonly reject: boolean;
  readonly rejectHint: LogIndex;
  readonly entries: readonly Entry[];
  readonly snapshot?: Snapshot;
  readonly context?: Uint8Array;
  /** Only on MsgStorageAppend and MsgStorageApply: deliver these when the work is done. */
  readonly responses?: readonly Message[];
}

/** A read that is linearizable once the state machine has applied `index`. */
export interface ReadState {
  readonly index: LogIndex;
  readonly context: Uint8Array;
}

/** Everything the core wants done since the last Ready. */
export interface Ready {
  /** True when `hardState` or `entries` must be durable before `messages` that promise durability are sent. */
  readonly mustSync: boolean;
  readonly softState?: SoftState;
  readonly hardState?: HardState;
  readonly readStates: readonly ReadState[];
  readonly entries: readonly Entry[];
  readonly snapshot?: Snapshot;
  readonly committedEntries: readonly Entry[];
  readonly messages: readonly Message[];
}

export type ProgressState = "StateProbe" | "StateReplicate" | "StateSnapshot";

/** What a leader knows of one peer. */
export interface ProgressStatus {
  readonly id: NodeId;
  readonly state: ProgressState;
  readonly match: LogIndex;
  readonly next: LogIndex;
  readonly learner: boolean;
  readonly paused: boolean;
  readonly pendingSnapshot: LogIndex;
  readonly recentActive: boolean;
  readonly inflight: number;
  readonly inflightFull: boolean;
}

export type BasicStatus = Pick<Status, "term" | "lead" | "role">;

export interface Status {
  readonly id: NodeId;
  readonly term: Term;
  readonly vote: NodeId;
  readonly commit: LogIndex;
  readonly applied: LogIndex;
  readonly lead: NodeId;
  readonly role: Role;
  readonly leadTransferee: NodeId;
  /** The incoming and the outgoing half of the configuration. */
  readonly voters: readonly [readonly NodeId[], readonly NodeId[]];
  /** Empty unless the node leads. */
  readonly progress: readonly ProgressStatus[];
}
