/**
 * The plain values that cross the border of the Raft core. Indexes, terms and node ids are safe integers, and 0
 * means "none". Payloads are bytes that neither side changes after it handed them over.
 */
import type { Brand } from "@blixard/common";
import type { RaftEvent } from "./events.ts";

export type NodeId = Brand<number, "NodeId">;
export type Term = Brand<number, "Term">;
export type LogIndex = Brand<number, "LogIndex">;

/** Says that `value` is a node id; it is asserted where it enters the core. */
export const asNodeId = (value: number): NodeId => value as NodeId;
export const asTerm = (value: number): Term => value as Term;
export const asLogIndex = (value: number): LogIndex => value as LogIndex;

export const noNode: NodeId = asNodeId(0);

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

/** The read side of the log, answered from memory. The core never writes. */
export interface RaftStorage {
  initialState(): { readonly hardState: HardState; readonly confState: ConfState };
  firstIndex(): LogIndex;
  lastIndex(): LogIndex;
  /** @throws an error with the code COMPACTED or UNAVAILABLE */
  term(index: LogIndex): Term;
  /** Entries of [low, high), at least one, cut where their sizes would exceed `maxBytes`. Same errors as `term`. */
  entries(low: LogIndex, high: LogIndex, maxBytes: number): readonly Entry[];
  /** @throws an error with the code SNAPSHOT_TEMPORARILY_UNAVAILABLE */
  snapshot(): Snapshot;
}

export interface RaftConfig {
  readonly id: NodeId;
  /** Ticks without a leader before an election; a random part of the same length is added. */
  readonly electionTick: number;
  /** Ticks between heartbeats. */
  readonly heartbeatTick: number;
  readonly storage: RaftStorage;
  /** Last index that the state machine has applied; 0 at the first start. */
  readonly applied?: LogIndex;
  /**
   * An entry that was committed when this node was let in, for a member that lost its state: until it has applied so
   * far, it neither campaigns nor votes, because on its way it meets configurations in which it was a voter, even the
   * only one. Default: none.
   */
  readonly admission?: { readonly index: LogIndex; readonly term: Term };
  readonly asyncStorageWrites?: boolean;
  /** Bytes of entries in one append message; at least one entry is always sent. Default: no limit. */
  readonly maxSizePerMsg?: number;
  /** Bytes of committed entries in one Ready. Default: `maxSizePerMsg`, and 1 where that is 0. With 0 nothing is applied. */
  readonly maxCommittedSizePerReady?: number;
  /** Bytes of uncommitted payload that a leader accepts; 0 or absent means no limit. */
  readonly maxUncommittedEntriesSize?: number;
  /** Append messages in flight to one peer. Default: 256. */
  readonly maxInflightMsgs?: number;
  /** Bytes of entries in flight to one peer; 0 or absent means no limit. */
  readonly maxInflightBytes?: number;
  readonly checkQuorum?: boolean;
  readonly preVote?: boolean;
  readonly readOnly?: "safe" | "lease-based";
  readonly disableProposalForwarding?: boolean;
  readonly disableConfChangeValidation?: boolean;
  readonly stepDownOnRemoval?: boolean;
  /** Uniform in [0, 1): the core's only source of randomness. */
  readonly random: () => number;
  /** Called at each protocol event, while the core works: it must not call back into the core. */
  readonly onEvent?: (event: RaftEvent) => void;
  /** The same events, a line each, for people. */
  readonly log?: (level: "DEBUG" | "INFO" | "WARN" | "ERROR" | "FATAL", text: string) => void;
}

/** Codes of the errors that the core throws; all of them leave its state unchanged. */
export type RaftErrorCode =
  | "PROPOSAL_DROPPED"
  | "STEP_LOCAL_MSG"
  | "STEP_PEER_NOT_FOUND"
  | "COMPACTED"
  | "UNAVAILABLE"
  | "SNAPSHOT_TEMPORARILY_UNAVAILABLE";

/** The deterministic core as its driver sees it. No method reads a clock, a file or a socket. */
export interface RaftCore {
  tick(): void;
  step(message: Message): void;
  campaign(): void;
  /**
   * Appends on a leader and returns where, which holds unless a later leader replaces the entry; elsewhere forwards.
   * @throws PROPOSAL_DROPPED
   */
  propose(data: Uint8Array): LogIndex | undefined;
  /** All of them in a row, or none; returns where the first is. One append carries them. @throws PROPOSAL_DROPPED */
  proposeAll(data: readonly Uint8Array[]): LogIndex | undefined;
  proposeConfChange(change: ConfChange): LogIndex | undefined;
  /** Called for every committed configuration change, in order. */
  applyConfChange(change: ConfChange): ConfState;
  readIndex(context: Uint8Array): void;
  transferLeader(to: NodeId): void;
  forgetLeader(): void;
  reportUnreachable(id: NodeId): void;
  reportSnapshot(id: NodeId, ok: boolean): void;
  hasReady(): boolean;
  ready(): Ready;
  /** Says that the work of the last Ready is done. Not called when asyncStorageWrites is set. */
  advance(): void;
  status(): Status;
  /** Test seam: overrides the timeout drawn by the last reset. */
  setRandomizedElectionTimeout(ticks: number): void;
}
