/**
 * What a leader does with each message.
 */

import type { ConfChangeRefusal } from "./events.ts";
import { noIndex } from "./indexes.ts";
import { senderOf } from "./messages.ts";
import type { Progress } from "./progress.ts";
import type { Proposal, Raft } from "./raft.ts";
import { confirmReads, handleReadRequest, releasePostponedReads } from "./reads.ts";
import { broadcastAppend, sendAppend, sendAppends } from "./replication.ts";
import { becomeFollower } from "./roles.ts";
import type { StepResult } from "./step-result.ts";
import { type ConfChange, type LogIndex, type Message, type NodeId, noNode } from "./types.ts";

export function stepLeader(raft: Raft, message: Message): StepResult {
  const { type } = message;
  if (type === "MsgProp") return proposeAsLeader(raft, message.entries);
  if (type === "MsgReadIndex") {
    handleReadRequest(raft, message);
    return "stepped";
  }
  const peer = raft.tracker.get(senderOf(message));
  if (peer === undefined) return "stepped";
  switch (type) {
    case "MsgAppResp":
      peer.recentActive = true;
      if (message.reject) handleRejection(raft, peer, message);
      else handleAcknowledgement(raft, peer, message.index);
      break;
    case "MsgHeartbeatResp":
      handleHeartbeatResponse(raft, peer, message);
      break;
    case "MsgTransferLeader":
      transferLeadership(raft, peer);
      break;
    default:
      // A leader has nothing to learn from the rest.
      break;
  }
  return "stepped";
}

/** Appends and sends proposals. A configuration change that cannot be taken now becomes an empty entry. */
export function proposeAsLeader(raft: Raft, proposals: readonly Proposal[]): StepResult {
  const refusal = proposalRefusal(raft);
  if (refusal !== undefined) {
    raft.emit({ type: "proposalDropped", reason: refusal });
    return "dropped";
  }
  if (!raft.appendProposals(screenConfChanges(raft, proposals))) {
    raft.emit({ type: "proposalDropped", reason: "uncommitted_limit" });
    return "dropped";
  }
  broadcastAppend(raft);
  return "stepped";
}

/** Steps down when no quorum was heard of since the last check (thesis section 6.2). */
export function checkQuorum(raft: Raft): void {
  if (!raft.tracker.quorumActive()) {
    raft.emit({ type: "quorumLost", term: raft.term });
    becomeFollower(raft, raft.term, noNode);
  }
  for (const peer of raft.tracker.peers) {
    if (peer.id !== raft.id) peer.recentActive = false;
  }
}

export function abortTransfer(raft: Raft): void {
  if (raft.leadTransferee === noNode) return;
  raft.emit({ type: "transferAborted", to: raft.leadTransferee });
  raft.leadTransferee = noNode;
}

/** The transport failed to reach a peer: what is in flight to it is probably lost. */
export function handleUnreachable(raft: Raft, id: NodeId): void {
  const peer = raft.tracker.get(id);
  if (peer?.state === "StateReplicate") peer.becomeProbe();
}

/** A snapshot was handed to a peer, or could not be. Appends go on with the next answer or heartbeat response. */
export function handleSnapshotStatus(raft: Raft, id: NodeId, ok: boolean): void {
  const peer = raft.tracker.get(id);
  if (peer?.state !== "StateSnapshot") return;
  if (!ok) peer.pendingSnapshot = noIndex;
  peer.becomeProbe();
  peer.flowPaused = true;
}

function proposalRefusal(raft: Raft): "removed" | "transferring" | undefined {
  if (raft.tracker.get(raft.id) === undefined) return "removed";
  return raft.leadTransferee === noNode ? undefined : "transferring";
}

/**
 * Replaces the changes that must not enter the log, and remembers the one that may. It counts as pending even when
 * the quota then refuses it, as in etcd: the next change is refused once, unless another entry takes that index.
 */
function screenConfChanges(raft: Raft, proposals: readonly Proposal[]): readonly Proposal[] {
  if (!proposals.some(({ kind }) => kind === "confChange")) return proposals;
  return proposals.map((proposal, at) => {
    if (proposal.kind === "normal") return proposal;
    const index = (raft.log.lastIndex + at + 1) as LogIndex;
    const refusal = raft.config.disableConfChangeValidation ? undefined : confChangeRefusal(raft, proposal.change);
    if (refusal === undefined) {
      raft.pendingConfIndex = index;
      return proposal;
    }
    raft.emit({ type: "confChangeRefused", index, reason: refusal });
    return { kind: "normal", data: new Uint8Array() };
  });
}

function confChangeRefusal(raft: Raft, change: ConfChange): ConfChangeRefusal | undefined {
  if (raft.pendingConfIndex > raft.log.applied) return "change_pending";
  const leaves = change.changes.length === 0;
  if (raft.tracker.isJoint && !leaves) return "must_leave_joint";
  if (!raft.tracker.isJoint && leaves) return "not_joint";
  return undefined;
}

/**
 * Handles a peer whose log does not match at the probed index. The peer's hint is the last place of its own log where
 * the two may agree. The leader tries its own last entry of that term, or of a lower one, next: so one probe skips a
 * whole term, in either log.
 */
function handleRejection(raft: Raft, peer: Progress, message: Message): void {
  const hint =
    message.logTerm > 0 ? raft.log.findConflictByTerm(message.rejectHint, message.logTerm) : message.rejectHint;
  if (!peer.reject(message.index, hint)) return;
  if (peer.state === "StateReplicate") peer.becomeProbe();
  sendAppend(raft, peer, true);
}

function handleAcknowledgement(raft: Raft, peer: Progress, index: LogIndex): void {
  const { log } = raft;
  // Nobody can have more of our log than we do.
  if (index > log.lastIndex) return;
  const probeAnswered = peer.match === index && peer.state === "StateProbe";
  if (!peer.acknowledge(index) && !probeAnswered) return;
  const itself = peer.id === raft.id;
  resumeReplication(raft, peer, index);
  if (raft.maybeCommit()) {
    releasePostponedReads(raft);
    broadcastAppend(raft);
  } else if (!itself && peer.canRaiseCommit(log.committed)) {
    sendAppend(raft, peer, true);
  }
  if (!itself) sendAppends(raft, peer);
  if (peer.id === raft.leadTransferee && peer.match === log.lastIndex) raft.send("MsgTimeoutNow", peer.id);
}

function resumeReplication(raft: Raft, peer: Progress, index: LogIndex): void {
  switch (peer.state) {
    case "StateProbe":
      peer.becomeReplicate();
      break;
    case "StateSnapshot":
      // It does not matter which snapshot the peer applied, as long as our log continues it.
      if (peer.match + 1 >= raft.log.firstIndex) {
        peer.becomeProbe();
        peer.becomeReplicate();
      }
      break;
    case "StateReplicate":
      peer.inflights.freeTo(index);
      break;
    default:
      peer.state satisfies never;
  }
}

function handleHeartbeatResponse(raft: Raft, peer: Progress, message: Message): void {
  peer.recentActive = true;
  peer.flowPaused = false;
  if (peer.match < raft.log.lastIndex || peer.state === "StateProbe") sendAppend(raft, peer, true);
  confirmReads(raft, message);
}

/** Hands leadership to a voter: it catches up first, then it is told to campaign at once. */
function transferLeadership(raft: Raft, peer: Progress): void {
  if (peer.learner || raft.leadTransferee === peer.id) return;
  abortTransfer(raft);
  if (peer.id === raft.id) return;
  // The transfer has one election timeout to finish.
  raft.electionElapsed = 0;
  raft.leadTransferee = peer.id;
  raft.emit({ type: "transferStarted", to: peer.id });
  if (peer.match === raft.log.lastIndex) raft.send("MsgTimeoutNow", peer.id);
  else sendAppend(raft, peer, true);
}
