/** The core as its driver sees it: what it is made with, what it reads, and what it can be asked. */
import type { RaftEvent } from "./events.ts";
import type {
  BasicStatus,
  ConfChange,
  ConfState,
  Entry,
  HardState,
  LogIndex,
  Message,
  NodeId,
  Ready,
  Snapshot,
  Status,
  Term,
} from "./types.ts";

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
   * For a member that lost its state and was admitted again: an entry that was committed at that time.
   * The node neither campaigns nor votes before it has applied that entry, because the log leads it through older
   * configurations in which it was a voter, even the only one. Default: none.
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
  /** Called at each protocol event. The core is at work then, so this must not call back into it. */
  readonly onEvent?: (event: RaftEvent) => void;
  /** Gets one line for people about each of these events. */
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
   * A leader appends the entry and returns its index, which stays valid unless a later leader replaces the entry. Every
   * other node forwards the proposal. @throws PROPOSAL_DROPPED
   */
  propose(data: Uint8Array): LogIndex | undefined;
  /** Appends all of them in a row, in one append, or none. Returns the index of the first. @throws PROPOSAL_DROPPED */
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
  /** The part of `status` that costs nothing to make. */
  basicStatus(): BasicStatus;
  /** Test seam: overrides the timeout drawn by the last reset. */
  setRandomizedElectionTimeout(ticks: number): void;
}
