/**
 * The state of one node, and the few operations that all roles share. The roles themselves, with their diagram, are
 * in `roles.ts`; what each does with a message is in `step-*.ts`.
 */
import { assert, assertSafeInteger } from "@blixard/common";
import { restoreMembership } from "./conf-change.ts";
import { payloadsBytes } from "./entry-size.ts";
import { describeRaftEvent, levelOf, type RaftEvent } from "./events.ts";
import { after, maxIndex, noIndex, plus } from "./indexes.ts";
import { RaftLog } from "./log.ts";
import { type MessageFields, newAcknowledgement, newMessage, promisesDurability } from "./messages.ts";
import type { RaftConfig } from "./raft-core.ts";
import { ReadOnly } from "./read-only.ts";
import { ProgressTracker } from "./tracker.ts";
import {
  type ConfChange,
  type Entry,
  type HardState,
  type LogIndex,
  type Message,
  type MessageType,
  type NodeId,
  noNode,
  type ReadState,
  type Role,
  type Term,
} from "./types.ts";

const inflightMessagesDefault = 256;

/** An entry that has no place in the log yet. */
export type Proposal =
  | { readonly kind: "normal"; readonly data: Uint8Array }
  | { readonly kind: "confChange"; readonly change: ConfChange };

export class Raft {
  readonly config: RaftConfig;
  readonly id: NodeId;
  readonly log: RaftLog;
  readonly tracker: ProgressTracker;
  readonly messageBytesMax: number;

  term: Term;
  vote: NodeId;
  role: Role = "StateFollower";
  lead: NodeId = noNode;
  /** The voter that leadership is being handed to. */
  leadTransferee: NodeId = noNode;
  /** No configuration change is proposed before this index is applied: at most one is pending. */
  pendingConfIndex: LogIndex = noIndex;
  readOnly = new ReadOnly();
  /** Reads that came before the first commit of the term. They outlive a lost leadership: any later index serves. */
  postponedReads: Message[] = [];
  readStates: ReadState[] = [];

  /** Ticks since the last election began or the leader was last heard of. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  randomizedElectionTimeout = 0;

  /** To be sent at once. */
  #messages: Message[] = [];
  /** These are sent when everything up to here is durable; some of them go to this node itself. */
  #messagesAfterAppend: Message[] = [];
  #uncommittedBytes = 0;
  readonly #uncommittedBytesMax: number;

  constructor(config: RaftConfig) {
    validate(config);
    const { hardState, confState } = config.storage.initialState();
    this.config = config;
    this.id = config.id;
    this.messageBytesMax = config.maxSizePerMsg ?? Number.POSITIVE_INFINITY;
    this.#uncommittedBytesMax = config.maxUncommittedEntriesSize || Number.POSITIVE_INFINITY;
    this.log = new RaftLog(config.storage, config.maxCommittedSizePerReady ?? Math.max(1, this.messageBytesMax));
    this.tracker = new ProgressTracker({
      inflightMessagesMax: config.maxInflightMsgs ?? inflightMessagesDefault,
      inflightBytesMax: config.maxInflightBytes || Number.POSITIVE_INFINITY,
    });
    const { config: membership, progress } = restoreMembership(confState, this.log.lastIndex, this.tracker.options);
    this.tracker.replace(membership, progress);
    assertSafeInteger(hardState.term, "the stored term");
    assertSafeInteger(hardState.vote, "the stored vote");
    assertSafeInteger(hardState.commit, "the stored commit index");
    this.term = hardState.term;
    this.vote = hardState.vote;
    this.#restoreCommit(hardState, config.applied ?? noIndex);
    this.commitAdmission();
    this.reset(this.term);
  }

  /** Whether this node may campaign: the configuration must name it as a voter. */
  get promotable(): boolean {
    const own = this.tracker.get(this.id);
    return own !== undefined && !own.learner && this.log.unstable.snapshot === undefined && !this.abstains;
  }

  /** True while this node knows less than it did when it was let in again. */
  get abstains(): boolean {
    return this.log.applied < (this.config.admission?.index ?? noIndex);
  }

  /** Commits the entry of the admission once the log has it, also before a leader says so: others may need this vote. */
  commitAdmission(): void {
    const { admission } = this.config;
    if (admission === undefined || admission.index <= this.log.committed) return;
    if (this.log.matches(admission.index, admission.term)) this.log.commitTo(admission.index);
  }

  get pastElectionTimeout(): boolean {
    return this.electionElapsed >= this.randomizedElectionTimeout;
  }

  /** True when an entry of this term is committed: then the commit index is not below that of any earlier leader. */
  get committedInTerm(): boolean {
    return this.log.termOf(this.log.committed) === this.term;
  }

  get hasMessages(): boolean {
    return this.#messages.length > 0 || this.#messagesAfterAppend.length > 0;
  }

  /** Hands out what is to be sent, and forgets it. */
  takeMessages(): { readonly now: Message[]; readonly afterAppend: Message[] } {
    const taken = { now: this.#messages, afterAppend: this.#messagesAfterAppend };
    this.#messages = [];
    this.#messagesAfterAppend = [];
    return taken;
  }

  send(type: MessageType, to: NodeId, fields?: MessageFields, term: Term = this.term): void {
    this.enqueue(newMessage(type, this.id, to, term, fields));
  }

  enqueue(message: Message): void {
    if (promisesDurability(message.type)) {
      this.#messagesAfterAppend.push(message);
    } else {
      if (message.to === this.id) assert(false, `${message.type} was addressed to its own sender`);
      this.#messages.push(message);
    }
  }

  /** Forgets what belongs to a role or a term. */
  reset(term: Term): void {
    if (this.term !== term) {
      this.term = term;
      this.vote = noNode;
    }
    this.lead = noNode;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    this.drawElectionTimeout();
    this.leadTransferee = noNode;
    this.tracker.resetVotes();
    const last = this.log.lastIndex;
    for (const peer of this.tracker.peers) peer.reset(peer.id === this.id ? last : noIndex, after(last));
    this.pendingConfIndex = noIndex;
    this.#uncommittedBytes = 0;
    this.readOnly = new ReadOnly();
  }

  /** Appends as the leader; false when the quota for uncommitted bytes is used up. */
  appendProposals(proposals: readonly Proposal[]): boolean {
    const last = this.log.lastIndex;
    const entries: Entry[] = [];
    for (const proposal of proposals) {
      const index = plus(last, entries.length + 1);
      const { term } = this;
      entries.push(
        proposal.kind === "normal"
          ? { term, index, kind: "normal", data: proposal.data }
          : { term, index, kind: "confChange", change: proposal.change },
      );
    }
    if (!this.#reserveUncommitted(payloadsBytes(entries))) return false;
    // The leader counts its own entries like a follower's: when they are durable.
    this.enqueue(newAcknowledgement(this.id, this.id, this.term, this.log.append(entries)));
    return true;
  }

  /** Gives back the quota of entries that were committed and applied. */
  releaseUncommitted(bytes: number): void {
    this.#uncommittedBytes = Math.max(0, this.#uncommittedBytes - bytes);
  }

  maybeCommit(): boolean {
    return this.log.maybeCommit(this.tracker.committedIndex(), this.term);
  }

  emit(event: RaftEvent): void {
    this.config.onEvent?.(event);
    this.config.log?.(levelOf(event), describeRaftEvent(this.id, event));
  }

  /** Uniform in [electionTick, 2 * electionTick - 1] (paper section 5.2). */
  drawElectionTimeout(): void {
    const { electionTick, random } = this.config;
    this.randomizedElectionTimeout = electionTick + Math.floor(random() * electionTick);
  }

  /** An empty payload always fits, and so does anything while nothing is uncommitted. */
  #reserveUncommitted(bytes: number): boolean {
    const total = this.#uncommittedBytes + bytes;
    if (this.#uncommittedBytes > 0 && bytes > 0 && total > this.#uncommittedBytesMax) return false;
    this.#uncommittedBytes = total;
    return true;
  }

  /**
   * The stored commit index may lag behind what is known to be committed, because it is written without fsync: the
   * base of the log and what the state machine applied are committed too.
   */
  #restoreCommit({ commit }: HardState, applied: LogIndex): void {
    assertSafeInteger(applied, "the applied index");
    this.log.commitTo(commit);
    this.log.commitTo(applied);
    if (applied > noIndex) this.log.appliedTo(maxIndex(applied, this.log.applied), 0);
  }
}

function validate(config: RaftConfig): void {
  assertSafeInteger(config.id, "the node id");
  assert(config.id > 0, "the node id must not be 0");
  assertSafeInteger(config.heartbeatTick, "heartbeatTick");
  assertSafeInteger(config.electionTick, "electionTick");
  assert(config.heartbeatTick > 0, "heartbeatTick must be greater than 0");
  assert(config.electionTick > config.heartbeatTick, "electionTick must be greater than heartbeatTick");
  assert(config.maxInflightMsgs === undefined || config.maxInflightMsgs > 0, "maxInflightMsgs must be greater than 0");
  assert(config.readOnly !== "lease-based" || config.checkQuorum === true, "lease-based reads need checkQuorum");
}
