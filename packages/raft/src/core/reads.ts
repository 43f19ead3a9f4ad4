/**
 * Linearizable reads on the leader (thesis section 6.4): answered when a quorum confirmed the leadership after the
 * request came in, or at once under a lease, which trusts clocks.
 */
import { senderOf } from "./messages.ts";
import type { Raft } from "./raft.ts";
import { pendingReadsMax } from "./read-only.ts";
import { broadcastHeartbeat } from "./replication.ts";
import { type LogIndex, type Message, noNode } from "./types.ts";

/** Takes a MsgReadIndex on the leader. */
export function handleReadRequest(raft: Raft, request: Message): void {
  if (raft.tracker.isSingleton) {
    answerRead(raft, request, raft.log.committed);
  } else if (raft.committedInTerm) {
    beginRead(raft, request);
  } else if (raft.postponedReads.length < pendingReadsMax) {
    // The commit index may still lag behind that of an earlier leader.
    raft.postponedReads.push(request);
  } else {
    raft.emit({ type: "readDropped", reason: "too_many" });
  }
}

/** Begins the reads that waited for the first commit of the term. */
export function releasePostponedReads(raft: Raft): void {
  if (raft.postponedReads.length === 0 || !raft.committedInTerm) return;
  const requests = raft.postponedReads;
  raft.postponedReads = [];
  for (const request of requests) beginRead(raft, request);
}

/** Takes an answer to a heartbeat that carried the number of a read. */
export function confirmReads(raft: Raft, message: Message): void {
  const { context } = message;
  if (raft.config.readOnly === "lease-based" || context === undefined || context.length === 0) return;
  raft.readOnly.acknowledge(senderOf(message), context);
  for (const { request, index } of raft.readOnly.confirm(raft.tracker.config)) answerRead(raft, request, index);
}

function beginRead(raft: Raft, request: Message): void {
  if (raft.config.readOnly === "lease-based") {
    answerRead(raft, request, raft.log.committed);
    return;
  }
  if (!raft.readOnly.add(request, raft.log.committed)) {
    raft.emit({ type: "readDropped", reason: "too_many" });
    return;
  }
  const context = raft.readOnly.heartbeatContext();
  if (context !== undefined) raft.readOnly.acknowledge(raft.id, context);
  broadcastHeartbeat(raft);
}

function answerRead(raft: Raft, request: Message, index: LogIndex): void {
  const from = senderOf(request);
  if (from !== noNode && from !== raft.id) {
    raft.send("MsgReadIndexResp", from, { index, entries: request.entries });
    return;
  }
  const entry = request.entries[0];
  if (entry?.kind === "normal") raft.readStates.push({ index, context: entry.data });
}
