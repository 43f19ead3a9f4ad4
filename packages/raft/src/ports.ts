/**
 * The ports that RaftNode drives. Each says who owns the bytes, what is durable when, and what an error means.
 * `@blixard/raft/testing` has a conformance suite for each of them.
 */
import type { ConfState, Entry, HardState, LogIndex, Message, NodeId, Term } from "./core/types.ts";

/** What a log holds when it is opened. */
export interface LogContents {
  readonly hardState: HardState;
  /** Index and term of the entry before `entries[0]`: 0 and 0, or where the log was compacted. */
  readonly base: { readonly index: LogIndex; readonly term: Term };
  /** All retained entries, contiguous from `base.index + 1`. */
  readonly entries: readonly Entry[];
}

export interface LogWrite {
  /** Replaces everything at and after `entries[0].index`. Contiguous; empty when only the hard state changed. */
  readonly entries: readonly Entry[];
  readonly hardState?: HardState;
}

/** Entries that somebody else holds. */
export interface LogCandidate {
  /** Who gave them, for messages to people. */
  readonly from: string;
  readonly entries: readonly Entry[];
}

/**
 * Yields the entries `first` to `last` as other nodes hold them, one candidate after the other. The store does not
 * trust a candidate: it checks whether these are the entries that it lost.
 */
export type LogRepairSource = (first: LogIndex, last: LogIndex) => AsyncIterable<LogCandidate>;

export interface LogLoadOptions {
  /** Where to find entries that were lost; the store stops at the first candidate that it can prove to be them. */
  readonly repairFrom?: LogRepairSource | undefined;
  /** The newest durable snapshot: damage at or below it costs nothing. */
  readonly snapshot?: { readonly index: LogIndex; readonly term: Term } | undefined;
  /**
   * How many entries before `snapshot` the caller wants. A store may leave out the older ones; what it returns then
   * begins at a higher index. Default: all.
   */
  readonly trailingEntries?: number;
}

/**
 * The durable log, term and vote. Calls may overlap; they take effect in the order they were made. Any error is
 * final: what was being written may or may not be there, and the caller must stop (fail-stop, exit code 74).
 */
export interface LogStore {
  /**
   * Called once, first. Verifies checksums and contiguity. A store that finds damage and knows exactly what is missing
   * may take it from `repairFrom`, and writes it durably before it resolves.
   * @throws STORAGE_CORRUPT for damage that is not repaired, with `part: "log"` in its details
   */
  load(options?: LogLoadOptions): Promise<LogContents>;
  /** One atomic write; durable (fsync) when it resolves. The arrays belong to the store from the call on. */
  append(write: LogWrite): Promise<void>;
  /** Forgets all entries up to and including `index`, which becomes the base. It need not be durable at once. */
  compact(base: { readonly index: LogIndex; readonly term: Term }): Promise<void>;
  /** Replaces the whole log by an empty one that starts after `base`, with this hard state; atomic and durable. */
  reset(base: { readonly index: LogIndex; readonly term: Term }, hardState: HardState): Promise<void>;
  close(): Promise<void>;
}

/** A snapshot without its bytes. */
export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  readonly confState: ConfState;
  /** Length of the whole state in bytes. */
  readonly sizeBytes: number;
}

/** Durable snapshots of the state machine, taken here or received from the leader. Only the newest is kept. */
export interface SnapshotStore {
  latest(): Promise<SnapshotMeta | undefined>;
  /** Stores the chunks; durable, and `latest`, when it resolves. An unfinished save leaves no trace. */
  save(
    meta: Omit<SnapshotMeta, "sizeBytes">,
    chunks: AsyncIterable<Uint8Array>,
    options?: { readonly signal?: AbortSignal },
  ): Promise<SnapshotMeta>;
  /**
   * Up to `bytesMax` bytes from `offset` of the snapshot at `index`; fewer only at its end, none after it.
   * @throws STORAGE_CORRUPT when a checksum fails, NOT_FOUND when that snapshot was superseded
   */
  read(index: LogIndex, offset: number, bytesMax: number): Promise<Uint8Array>;
  /**
   * Sets the one listener that learns that the newest snapshot was found damaged, by a read or by a check of the store's
   * own. From then on `latest` is undefined until another one is saved, which may stand at the same index.
   */
  onDamaged?(listener: () => void): void;
  close(): Promise<void>;
}

/**
 * Carries the bytes of snapshots faster than messages between peers do. When it fails, or is missing on one side, the
 * bytes travel in messages.
 */
export interface SnapshotCarrier {
  /** Names a snapshot of this node, so that others can fetch it: up to 256 bytes. May reject. */
  offer(meta: SnapshotMeta): Promise<Uint8Array>;
  /** Yields the bytes that node `from` offered as `reference`, in order and verified. Throws when it cannot get them. */
  fetch(
    from: NodeId,
    meta: SnapshotMeta,
    reference: Uint8Array,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<Uint8Array>;
}

/** What travels between two Raft nodes. */
export type PeerMessage =
  | { readonly type: "raft"; readonly message: Message }
  /**
   * A piece of the state that a MsgSnap stands for; the receiver steps the MsgSnap when it has all of it. Its
   * `snapshot.data` is what the sender's SnapshotCarrier offers, or empty.
   */
  | {
      readonly type: "snapshotChunk";
      readonly message: Message;
      readonly sizeBytes: number;
      readonly offset: number;
      readonly data: Uint8Array;
    }
  | {
      readonly type: "snapshotAck";
      /** Index and term of the snapshot itself. */
      readonly index: LogIndex;
      readonly term: Term;
      /**
       * Bytes that the receiver holds without a gap: the offset to send next. The whole size says that all of it is
       * durable; until then the receiver holds the last byte back.
       */
      readonly receivedBytes: number;
      readonly refused: boolean;
    }
  /** A proposal that a node which does not lead sends to the leader of `term`. All its copies have the same name. */
  | {
      readonly type: "proposal";
      readonly term: Term;
      /** Random number of one run of the proposing node. With `sequence`, which counts from 1, it names the proposal. */
      readonly session: number;
      readonly sequence: number;
      /** Carry a configuration change out although it may cost the quorum. */
      readonly force: boolean;
      /** Has no place yet: its term and index are 0. */
      readonly entry: Entry;
    }
  /** What the leader did with a proposal. It is no promise: the entry at that place may still be overwritten. */
  | {
      readonly type: "proposalAnswer";
      readonly session: number;
      readonly sequence: number;
      readonly verdict: ProposalVerdict;
    };

export type ProposalVerdict =
  | { readonly type: "placed"; readonly index: LogIndex; readonly term: Term }
  /** It is in no log and never will be. */
  | {
      readonly type: "refused";
      readonly code: ProposalRefusalCode;
      readonly reason: string;
      /** 0 when the answering node knows no leader. */
      readonly leaderId: NodeId;
    };

export type ProposalRefusalCode =
  | "NOT_LEADER"
  | "PROPOSAL_DROPPED"
  | "OVERLOADED"
  | "CONFLICT"
  | "QUORUM_AT_RISK"
  | "INVALID_ARGUMENT";

export interface PeerTransportHandlers {
  /** `from` was proved by the connection. Only enqueues; never throws. */
  readonly onMessage: (from: NodeId, message: PeerMessage) => void;
  /** The peer's session broke or its queue overflowed. */
  readonly onUnreachable: (id: NodeId) => void;
}

/** Carries messages between peers. It may lose, repeat and reorder them, but must not alter them. */
export interface PeerTransport {
  /** Queues without waiting; never throws. False when the message was dropped. */
  send(to: NodeId, message: PeerMessage): boolean;
  /** Sets the one receiver, before the first message. */
  bind(handlers: PeerTransportHandlers): void;
}

/** Position and configuration of a state. */
export interface AppliedState {
  readonly index: LogIndex;
  readonly term: Term;
  readonly confState: ConfState;
}

/** What a state machine has applied and answered, and its disk has not been given yet. */
export interface StateBacklog {
  /** Bytes of the changes that are not stored, those of a write under way included. */
  readonly bytes: number;
  /**
   * Writes everything that is applied by now as one atomic batch, cut between two entries: all that the entries up to
   * there have changed, nothing of later ones, and with it their position and configuration. It need not be durable at
   * once. One call at a time; a rejection stops the node.
   */
  store(): Promise<void>;
}

/**
 * The application. `apply` is a pure function of state and entries; it never throws for a bad command. On disk, state,
 * applied index and configuration change in one transaction, so that a crash replays whole batches or nothing.
 *
 * An entry is durable in the log before it is applied, and the state is made of the log. So a machine may answer when the
 * state in memory has changed, and store it later: it then has a `backlog`, which the node bounds and writes.
 */
export interface StateMachine<Result> {
  /** Returns the position of the state on disk, index 0 for an empty one. Called once, before everything else. */
  load(): Promise<AppliedState>;
  /**
   * Applies `entries` in order. `after` is the position and configuration that result. Returns a result for each
   * entry; undefined for configuration changes and for the empty entries of new leaders.
   */
  apply(entries: readonly Entry[], after: AppliedState): Promise<readonly (Result | undefined)[]>;
  /** Absent on a machine whose `apply` stores what it applies. */
  readonly backlog?: StateBacklog;
  /** Reads the state as it is at this moment, in the order of its keys. Later applies do not change what is read. */
  snapshot(): Promise<{ readonly at: AppliedState; readonly chunks: AsyncIterable<Uint8Array> }>;
  /** Replaces the whole state, atomically and durably, when the last chunk was read. */
  restore(at: AppliedState, chunks: AsyncIterable<Uint8Array>): Promise<void>;
  /** Makes every applied change durable, that of the backlog too: called before the log below it is compacted. */
  flush(): Promise<void>;
  close(): Promise<void>;
}
