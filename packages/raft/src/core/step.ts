/**
 * One message or one tick at a time: the rules about terms first (paper section 5.1), then the role decides.
 */

import { answerVoteRequest, campaignByConfig, isTransferVote } from "./election.ts";
import { entriesSizeBytes, payloadsBytes } from "./entry-size.ts";
import { maxIndex } from "./indexes.ts";
import { senderOf } from "./messages.ts";
import type { Raft } from "./raft.ts";
import { broadcastHeartbeat } from "./replication.ts";
import { becomeFollower } from "./roles.ts";
import { stepCandidate } from "./step-candidate.ts";
import { stepFollower } from "./step-follower.ts";
import { abortTransfer, checkQuorum, proposeAsLeader, stepLeader } from "./step-leader.ts";
import type { StepResult } from "./step-result.ts";
import { type ConfChange, type Entry, type LogIndex, type Message, noNode } from "./types.ts";

/** Leaves a joint configuration. It is empty and thus free, so no quota can refuse it. */
const leaveJointChange: ConfChange = { version: 2, transition: "auto", changes: [] };

export function stepRaft(raft: Raft, message: Message): StepResult {
  const { term, type } = message;
  // Term 0 marks requests that no term owns.
  if (term > raft.term) {
    if (!enterHigherTerm(raft, message)) return "stepped";
  } else if (term < raft.term && term !== 0) {
    answerLowerTerm(raft, message);
    return "stepped";
  }
  switch (type) {
    case "MsgStorageAppendResp":
      if (message.index !== 0) raft.log.unstable.stableTo(message.index, message.logTerm);
      snapshotApplied(raft, message);
      return "stepped";
    case "MsgStorageApplyResp":
      entriesApplied(raft, message.entries);
      return "stepped";
    case "MsgVote":
    case "MsgPreVote":
      answerVoteRequest(raft, message);
      return "stepped";
    default:
      return stepRole(raft, message);
  }
}

export function stepRole(raft: Raft, message: Message): StepResult {
  switch (raft.role) {
    case "StateLeader":
      return stepLeader(raft, message);
    case "StateFollower":
      return stepFollower(raft, message);
    case "StateCandidate":
    case "StatePreCandidate":
      return stepCandidate(raft, message);
    default:
      return raft.role satisfies never;
  }
}

export function tickRaft(raft: Raft): void {
  raft.electionElapsed++;
  if (raft.role === "StateLeader") tickHeartbeat(raft);
  else tickElection(raft);
}

function tickElection(raft: Raft): void {
  if (raft.abstains) raft.commitAdmission();
  if (!raft.promotable || !raft.pastElectionTimeout) return;
  raft.electionElapsed = 0;
  campaignByConfig(raft);
}

function tickHeartbeat(raft: Raft): void {
  raft.heartbeatElapsed++;
  if (raft.electionElapsed >= raft.config.electionTick) {
    raft.electionElapsed = 0;
    if (raft.config.checkQuorum) checkQuorum(raft);
    // A transfer that takes longer has failed: take proposals again.
    if (raft.role === "StateLeader") abortTransfer(raft);
  }
  if (raft.role !== "StateLeader" || raft.heartbeatElapsed < raft.config.heartbeatTick) return;
  raft.heartbeatElapsed = 0;
  broadcastHeartbeat(raft);
}

/** Follows a higher term; false when the message must be ignored instead. */
function enterHigherTerm(raft: Raft, message: Message): boolean {
  const { type, term } = message;
  if ((type === "MsgVote" || type === "MsgPreVote") && inLease(raft) && !isTransferVote(message)) {
    // A server that cannot reach the leader must not depose it (thesis section 4.2.3).
    raft.emit({ type: "voteIgnored", candidate: senderOf(message), term });
    return false;
  }
  // A pre-vote asks about a term that no node has entered yet, and its grant carries that term.
  if (type === "MsgPreVote" || (type === "MsgPreVoteResp" && !message.reject)) return true;
  const fromLeader = type === "MsgApp" || type === "MsgHeartbeat" || type === "MsgSnap";
  becomeFollower(raft, term, fromLeader ? senderOf(message) : noNode);
  return true;
}

/** True while this node heard of a leader within the shortest election timeout. */
const inLease = (raft: Raft): boolean =>
  raft.config.checkQuorum === true && raft.lead !== noNode && raft.electionElapsed < raft.config.electionTick;

function answerLowerTerm(raft: Raft, message: Message): void {
  const { type } = message;
  const { checkQuorum: quorumChecked, preVote } = raft.config;
  if ((quorumChecked || preVote) && (type === "MsgHeartbeat" || type === "MsgApp")) {
    // Without this answer a node with a higher term would be stuck: its requests for votes are ignored under the
    // lease, and its leader's messages are ignored here. The leader steps down and a new election frees all.
    raft.send("MsgAppResp", senderOf(message));
  } else if (type === "MsgPreVote") {
    // Tells a pre-candidate with an old term and a long log about the new term.
    raft.send("MsgPreVoteResp", senderOf(message), { reject: true });
  } else if (type === "MsgStorageAppendResp") {
    // The entries may have been replaced in a later term, and that write may still be under way. A snapshot is
    // committed state, good in any term.
    snapshotApplied(raft, message);
  }
}

function snapshotApplied(raft: Raft, { snapshot }: Message): void {
  if (snapshot === undefined) return;
  raft.log.unstable.stableSnapshotTo(snapshot.index);
  appliedTo(raft, snapshot.index, 0);
}

function entriesApplied(raft: Raft, entries: readonly Entry[]): void {
  const last = entries.at(-1);
  if (last === undefined) return;
  appliedTo(raft, last.index, entriesSizeBytes(entries));
  raft.releaseUncommitted(payloadsBytes(entries));
}

function appliedTo(raft: Raft, index: LogIndex, bytes: number): void {
  const applied = maxIndex(index, raft.log.applied);
  raft.log.appliedTo(applied, bytes);
  if (!raft.tracker.config.autoLeave || raft.role !== "StateLeader" || applied < raft.pendingConfIndex) return;
  // During a leadership transfer this is dropped; the next applied entry tries again.
  proposeAsLeader(raft, [{ kind: "confChange", change: leaveJointChange }]);
}
