/**
 * The core behind its border: it takes input, and packs what the driver must do into a Ready.
 *
 * With synchronous storage the driver writes and sends what a Ready holds, then calls `advance`. With asynchronous
 * storage writes a Ready carries MsgStorageAppend and MsgStorageApply, whose responses take the place of `advance`,
 * and the next Ready need not wait for them.
 */
import { assert } from "@blixard/common";
import { campaignByConfig } from "./election.ts";
import { entriesSizeBytes } from "./entry-size.ts";
import { localMessageStepped, peerNotFound, proposalDropped } from "./errors.ts";
import { after, noIndex } from "./indexes.ts";
import { applyConfChange } from "./membership.ts";
import {
  isLocalMessage,
  isLocalTarget,
  isResponseMessage,
  isStorageResponse,
  malformation,
  newAppendResponse,
  newApplyResponse,
  newMessage,
  noTerm,
} from "./messages.ts";
import { type Proposal, Raft } from "./raft.ts";
import type { RaftConfig, RaftCore } from "./raft-core.ts";
import { ignore } from "./replication.ts";
import { stepRaft, stepRole, tickRaft } from "./step.ts";
import { handleSnapshotStatus, handleUnreachable, proposeAsLeader } from "./step-leader.ts";
import {
  type BasicStatus,
  type ConfChange,
  type ConfState,
  type Entry,
  type HardState,
  type LogIndex,
  type Message,
  type NodeId,
  noNode,
  type Ready,
  type SoftState,
  type Status,
} from "./types.ts";

/** Makes the core of one node from what its storage holds. */
export const createRaftCore = (config: RaftConfig): RaftCore => new RawNode(config);

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

class RawNode implements RaftCore {
  readonly #raft: Raft;
  readonly #async: boolean;
  #softState: SoftState;
  #hardState: HardState;
  /** Messages to this node itself that `advance` steps, in order, once the work of the last Ready is done. */
  #onAdvance: Message[] = [];

  constructor(config: RaftConfig) {
    this.#raft = new Raft(config);
    this.#async = config.asyncStorageWrites === true;
    this.#softState = softStateOf(this.#raft);
    this.#hardState = hardStateOf(this.#raft);
  }

  tick(): void {
    tickRaft(this.#raft);
  }

  step(message: Message): void {
    const raft = this.#raft;
    const { type, from } = message;
    if (isLocalMessage(type) && !(isLocalTarget(from) && isStorageResponse(type))) throw localMessageStepped();
    const answersHere = isResponseMessage(type) && !isStorageResponse(type) && typeof from === "number";
    if (answersHere && raft.tracker.get(from) === undefined) throw peerNotFound();
    const reason = malformation(message, raft.id);
    if (reason !== undefined) {
      ignore(raft, message, reason);
      return;
    }
    if (stepRaft(raft, message) === "dropped") throw proposalDropped();
  }

  campaign(): void {
    campaignByConfig(this.#raft);
  }

  propose(data: Uint8Array): LogIndex | undefined {
    return this.#propose([{ kind: "normal", data }]);
  }

  proposeAll(data: readonly Uint8Array[]): LogIndex | undefined {
    return this.#propose(data.map((data) => ({ kind: "normal", data })));
  }

  proposeConfChange(change: ConfChange): LogIndex | undefined {
    return this.#propose([{ kind: "confChange", change }]);
  }

  applyConfChange(change: ConfChange): ConfState {
    return applyConfChange(this.#raft, change);
  }

  readIndex(context: Uint8Array): void {
    const entries = [unplaced({ kind: "normal", data: context })];
    stepRole(this.#raft, newMessage("MsgReadIndex", noNode, noNode, noTerm, { entries }));
  }

  transferLeader(to: NodeId): void {
    stepRole(this.#raft, newMessage("MsgTransferLeader", to, noNode, noTerm));
  }

  forgetLeader(): void {
    stepRole(this.#raft, newMessage("MsgForgetLeader", noNode, noNode, noTerm));
  }

  reportUnreachable(id: NodeId): void {
    if (this.#raft.role === "StateLeader") handleUnreachable(this.#raft, id);
  }

  reportSnapshot(id: NodeId, ok: boolean): void {
    if (this.#raft.role === "StateLeader") handleSnapshotStatus(this.#raft, id, ok);
  }

  hasReady(): boolean {
    const raft = this.#raft;
    const { log } = raft;
    return (
      raft.hasMessages ||
      log.unstable.hasNextEntries ||
      log.hasNextCommitted(!this.#async) ||
      log.unstable.nextSnapshot !== undefined ||
      raft.readStates.length > 0 ||
      this.#softStateChanged() ||
      (this.#hardStateChanged() && !isEmpty(raft))
    );
  }

  ready(): Ready {
    const raft = this.#raft;
    const { log } = raft;
    assert(this.#onAdvance.length === 0, "a Ready was taken before the last one was advanced");
    const entries = log.unstable.nextEntries();
    const committedEntries = log.nextCommitted(!this.#async);
    const snapshot = log.unstable.nextSnapshot;
    const { now, afterAppend } = raft.takeMessages();
    const mustSync = entries.length > 0 || raft.vote !== this.#hardState.vote || raft.term !== this.#hardState.term;
    const ready: Mutable<Ready> = {
      mustSync,
      readStates: raft.readStates,
      entries,
      committedEntries,
      messages: now,
    };
    if (this.#softStateChanged()) ready.softState = softStateOf(raft);
    if (this.#hardStateChanged()) ready.hardState = hardStateOf(raft);
    if (snapshot !== undefined) ready.snapshot = snapshot;
    if (this.#async) addStorageMessages(raft, ready, now, afterAppend);
    else this.#deferResponses(ready, now, afterAppend);
    this.#accept(ready);
    return ready;
  }

  advance(): void {
    assert(!this.#async, "advance does not go with asynchronous storage writes");
    const messages = this.#onAdvance;
    if (messages.length === 0) return;
    this.#onAdvance = [];
    for (const message of messages) stepRaft(this.#raft, message);
  }

  basicStatus(): BasicStatus {
    const { term, lead, role } = this.#raft;
    return { term, lead, role };
  }

  status(): Status {
    const raft = this.#raft;
    const { voters, votersOutgoing } = raft.tracker.config;
    return {
      id: raft.id,
      ...hardStateOf(raft),
      ...softStateOf(raft),
      applied: raft.log.applied,
      leadTransferee: raft.leadTransferee,
      voters: [voters, votersOutgoing],
      progress: raft.role === "StateLeader" ? raft.tracker.peers.map((peer) => peer.status()) : [],
    };
  }

  setRandomizedElectionTimeout(ticks: number): void {
    this.#raft.randomizedElectionTimeout = ticks;
  }

  /** A leader takes its own proposals without a message. Every other role needs one, to forward it or to refuse it. */
  #propose(proposals: readonly Proposal[]): LogIndex | undefined {
    const raft = this.#raft;
    const leads = raft.role === "StateLeader";
    const place = after(raft.log.lastIndex);
    const result = leads
      ? proposeAsLeader(raft, proposals)
      : stepRole(raft, newMessage("MsgProp", raft.id, noNode, noTerm, { entries: proposals.map(unplaced) }));
    if (result === "dropped") throw proposalDropped();
    return leads ? place : undefined;
  }

  #softStateChanged(): boolean {
    return this.#raft.lead !== this.#softState.lead || this.#raft.role !== this.#softState.role;
  }

  #hardStateChanged(): boolean {
    const { term, vote, log } = this.#raft;
    return term !== this.#hardState.term || vote !== this.#hardState.vote || log.committed !== this.#hardState.commit;
  }

  /** Without storage threads: answers go out with the Ready, and those to this node itself wait for `advance`. */
  #deferResponses(ready: Ready, now: Message[], afterAppend: readonly Message[]): void {
    const raft = this.#raft;
    for (const message of afterAppend) (message.to === raft.id ? this.#onAdvance : now).push(message);
    if (needsAppendResponse(raft, ready)) this.#onAdvance.push(appendResponse(raft, ready));
    if (ready.committedEntries.length > 0) this.#onAdvance.push(newApplyResponse(raft.id, ready.committedEntries));
  }

  #accept(ready: Ready): void {
    const { log } = this.#raft;
    if (ready.softState !== undefined) this.#softState = ready.softState;
    if (ready.hardState !== undefined) this.#hardState = ready.hardState;
    if (ready.readStates.length > 0) this.#raft.readStates = [];
    log.unstable.acceptInProgress();
    const last = ready.committedEntries.at(-1);
    if (last !== undefined) log.acceptApplying(last.index, entriesSizeBytes(ready.committedEntries), !this.#async);
  }
}

const softStateOf = ({ lead, role }: Raft): SoftState => ({ lead, role });

const hardStateOf = ({ term, vote, log }: Raft): HardState => ({ term, vote, commit: log.committed });

const isEmpty = ({ term, vote, log }: Raft): boolean => term === 0 && vote === noNode && log.committed === 0;

/** The entry of a proposal on its way to the leader, which gives it an index. */
const unplaced = (proposal: Proposal): Entry => ({ term: noTerm, index: noIndex, ...proposal });

function addStorageMessages(raft: Raft, ready: Ready, now: Message[], afterAppend: Message[]): void {
  const { hardState, snapshot, entries, committedEntries } = ready;
  if (entries.length > 0 || hardState !== undefined || snapshot !== undefined || afterAppend.length > 0) {
    const responses = afterAppend;
    // Behind the leader's own acknowledgement: that one reads terms which are still in memory then.
    if (needsAppendResponse(raft, ready)) responses.push(appendResponse(raft, ready));
    now.push(
      newMessage("MsgStorageAppend", raft.id, "append", hardState?.term ?? noTerm, {
        entries,
        responses,
        ...(hardState !== undefined && { vote: hardState.vote, commit: hardState.commit }),
        ...(snapshot !== undefined && { snapshot }),
      }),
    );
  }
  if (committedEntries.length > 0) {
    // Committed entries belong to no term any more.
    const responses = [newApplyResponse(raft.id, committedEntries)];
    now.push(newMessage("MsgStorageApply", raft.id, "apply", noTerm, { entries: committedEntries, responses }));
  }
}

const needsAppendResponse = (raft: Raft, ready: Ready): boolean =>
  raft.log.unstable.length > 0 || ready.snapshot !== undefined;

/**
 * Says that everything up to the end of the log is durable. It is valid in the current term only: in a later term
 * the same entries may have been replaced and written back (A-B-A) while a write of the others is still under way.
 * Since such answers are then lost, every append tells the end of the log, even when it adds nothing to it.
 */
function appendResponse(raft: Raft, { snapshot }: Ready): Message {
  const { log, id, term } = raft;
  const some = log.unstable.length > 0;
  const index = some ? log.lastIndex : noIndex;
  const logTerm = some ? log.lastTerm : noTerm;
  if (snapshot === undefined) return newAppendResponse(id, term, index, logTerm);
  return newMessage("MsgStorageAppendResp", "append", id, term, { index, logTerm, snapshot });
}
