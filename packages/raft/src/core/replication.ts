/**
 * How a leader brings its log to the others (paper section 5.3), and how a follower takes it.
 */
import { payloadsBytes } from "./entry-size.ts";
import { before, minIndex, plus } from "./indexes.ts";
import { newAcknowledgement, newAppend, senderOf } from "./messages.ts";
import type { Progress } from "./progress.ts";
import type { Raft } from "./raft.ts";
import type { Entry, LogIndex, Message, Snapshot } from "./types.ts";

const noEntries: readonly Entry[] = [];

/** Sends each other member what it lacks, or an empty append that tells the commit index. */
export function broadcastAppend(raft: Raft): void {
  for (const peer of raft.tracker.peers) {
    if (peer.id !== raft.id) sendAppend(raft, peer, true);
  }
}

/** Sends what new members lack; members that lack nothing get nothing. */
export function probeMembers(raft: Raft): void {
  for (const peer of raft.tracker.peers) {
    if (peer.id !== raft.id) sendAppend(raft, peer, false);
  }
}

/**
 * Sends one append, or a snapshot when the log does not reach back far enough; false when nothing was sent. An
 * append without entries goes out only with `evenEmpty`.
 */
export function sendAppend(raft: Raft, peer: Progress, evenEmpty: boolean): boolean {
  if (peer.paused) return false;
  const { log } = raft;
  const previous = before(peer.next);
  if (!evenEmpty && previous === log.lastIndex) return false;
  const previousTerm = log.termOf(previous);
  if (previousTerm === undefined) return sendSnapshot(raft, peer);
  // Past a full window only an empty append goes out. It will be answered, which frees the window even when all
  // messages in it were lost.
  const throttled = peer.state === "StateReplicate" && peer.inflights.full;
  const entries = throttled ? noEntries : log.entriesFrom(peer.next, raft.messageBytesMax);
  if (!evenEmpty && (entries === undefined || entries.length === 0)) return false;
  if (entries === undefined) return sendSnapshot(raft, peer);
  raft.enqueue(newAppend(raft.id, peer.id, raft.term, previousTerm, previous, log.committed, entries));
  peer.sentEntries(entries.length, payloadsBytes(entries));
  peer.sentCommit(log.committed);
  return true;
}

/** Sends as many appends with entries as the window takes. */
export function sendAppends(raft: Raft, peer: Progress): void {
  while (sendAppend(raft, peer, false));
}

export function broadcastHeartbeat(raft: Raft): void {
  const context = raft.readOnly.heartbeatContext();
  for (const peer of raft.tracker.peers) {
    if (peer.id === raft.id) continue;
    // The peer may not have the entries behind its match index, so it must not commit them by a heartbeat.
    const commit = minIndex(peer.match, raft.log.committed);
    raft.send("MsgHeartbeat", peer.id, context === undefined ? { commit } : { commit, context });
    peer.sentCommit(commit);
  }
}

/** A follower's answer to MsgApp. */
export function handleAppend(raft: Raft, message: Message): void {
  const { log } = raft;
  const from = senderOf(message);
  const { index, logTerm, entries } = message;
  if (index < log.committed) {
    raft.send("MsgAppResp", from, { index: log.committed });
    return;
  }
  if (!log.matches(index, logTerm)) {
    rejectAppend(raft, message);
    return;
  }
  const at = log.findConflict(entries);
  if (at >= 0) {
    if (plus(index, at + 1) <= log.committed) {
      ignore(raft, message, "it would replace committed entries");
      return;
    }
    log.append(entries, at);
  }
  const last = plus(index, entries.length);
  log.commitTo(minIndex(message.commit, last));
  raft.enqueue(newAcknowledgement(raft.id, from, raft.term, last));
}

/** A follower's answer to MsgHeartbeat. */
export function handleHeartbeat(raft: Raft, message: Message): void {
  if (message.commit > raft.log.lastIndex) {
    // The leader counts on entries that this log has lost. It would be worse to commit others in their place.
    ignore(raft, message, "it commits entries that this log does not have");
    return;
  }
  raft.log.commitTo(message.commit);
  const { context } = message;
  raft.send("MsgHeartbeatResp", senderOf(message), context === undefined ? undefined : { context });
}

export function ignore(raft: Raft, message: Message, reason: string): void {
  raft.emit({ type: "messageIgnored", message: message.type, from: String(message.from), reason });
}

/**
 * Tells the leader the last place where the logs may agree: no later entry of ours has a term as low as that of the
 * append. This skips all our conflicting entries of higher terms at once.
 */
function rejectAppend(raft: Raft, message: Message): void {
  const { log } = raft;
  const rejectHint = log.findConflictByTerm(minIndex(message.index, log.lastIndex), message.logTerm);
  const logTerm = hintTerm(raft, rejectHint);
  const fields = { index: message.index, reject: true, rejectHint };
  raft.send("MsgAppResp", senderOf(message), logTerm === undefined ? fields : { ...fields, logTerm });
}

const hintTerm = (raft: Raft, hint: LogIndex) => (hint === 0 ? undefined : raft.log.termOf(hint));

function sendSnapshot(raft: Raft, peer: Progress): boolean {
  if (!peer.recentActive) {
    raft.emit({ type: "snapshotSkipped", to: peer.id, reason: "inactive" });
    return false;
  }
  const snapshot: Snapshot | undefined = raft.log.snapshot();
  if (snapshot === undefined) {
    raft.emit({ type: "snapshotSkipped", to: peer.id, reason: "unavailable" });
    return false;
  }
  peer.becomeSnapshot(snapshot.index);
  raft.send("MsgSnap", peer.id, { snapshot });
  raft.emit({ type: "snapshotSent", to: peer.id, index: snapshot.index, term: snapshot.term });
  return true;
}
