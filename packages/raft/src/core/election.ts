/**
 * Elections (paper sections 5.2 and 5.4.1) with pre-vote (thesis section 9.6) and leadership transfer (section 3.10).
 */
import { bytesEqual } from "@blixard/common";
import { senderOf } from "./messages.ts";
import type { Raft } from "./raft.ts";
import { broadcastAppend } from "./replication.ts";
import { becomeCandidate, becomeFollower, becomeLeader, becomePreCandidate, nextTerm } from "./roles.ts";
import { type Message, noNode } from "./types.ts";

/** What an election is for; a transfer skips the pre-vote and the lease, because the leader itself asked for it. */
export type Campaign = "preElection" | "election" | "transfer";

/** Marks the vote requests of a transfer. The text is etcd's, so that mixed tools read the same. */
const transferContext = Uint8Array.from([..."CampaignTransfer"], (letter) => letter.charCodeAt(0));

export const isTransferVote = (message: Message): boolean =>
  message.context !== undefined && bytesEqual(message.context, transferContext);

/** Starts an election unless this node must not lead. */
export function campaign(raft: Raft, kind: Campaign): void {
  const refusal = campaignRefusal(raft);
  if (refusal !== undefined) {
    raft.emit({ type: "campaignRefused", reason: refusal });
    return;
  }
  runElection(raft, kind);
}

/** The election that a timeout or the application asks for. */
export const campaignByConfig = (raft: Raft): void => campaign(raft, raft.config.preVote ? "preElection" : "election");

/** Counts an answer to our own request for votes. */
export function countVote(raft: Raft, message: Message): void {
  raft.tracker.recordVote(senderOf(message), !message.reject);
  switch (raft.tracker.voteResult()) {
    case "VoteWon":
      if (raft.role === "StatePreCandidate") {
        runElection(raft, "election");
      } else {
        becomeLeader(raft);
        broadcastAppend(raft);
      }
      break;
    case "VoteLost":
      // A pre-vote is answered in a term that was never entered, so the own term stays.
      becomeFollower(raft, raft.term, noNode);
      break;
    case "VotePending":
      break;
  }
}

/** Answers MsgVote and MsgPreVote. Learners vote too: they may have been promoted without knowing yet. */
export function answerVoteRequest(raft: Raft, message: Message): void {
  const candidate = senderOf(message);
  const isPreVote = message.type === "MsgPreVote";
  const free =
    raft.vote === candidate ||
    (raft.vote === noNode && raft.lead === noNode) ||
    (isPreVote && message.term > raft.term);
  const granted = free && !raft.abstains && raft.log.isUpToDate(message.index, message.logTerm);
  const type = isPreVote ? "MsgPreVoteResp" : "MsgVoteResp";
  raft.emit({ type: "voteAnswered", candidate, term: message.term, granted });
  if (!granted) {
    raft.send(type, candidate, { reject: true });
    return;
  }
  // In the term of the request: a pre-candidate ignores answers in our term when ours is older.
  raft.send(type, candidate, undefined, message.term);
  if (!isPreVote) {
    raft.electionElapsed = 0;
    raft.vote = candidate;
  }
}

function campaignRefusal(raft: Raft): "leader" | "not_promotable" | "conf_change_unapplied" | undefined {
  if (raft.role === "StateLeader") return "leader";
  if (!raft.promotable) return "not_promotable";
  // A configuration takes effect when it is applied. Until then this node might ask the wrong quorum.
  if (raft.log.someUnapplied((entry) => entry.kind === "confChange")) return "conf_change_unapplied";
  return undefined;
}

function runElection(raft: Raft, kind: Campaign): void {
  if (kind === "preElection") becomePreCandidate(raft);
  else becomeCandidate(raft);
  const isPreVote = kind === "preElection";
  const term = isPreVote ? nextTerm(raft.term) : raft.term;
  const { lastIndex, lastTerm } = raft.log;
  for (const id of raft.tracker.voterIds()) {
    if (id === raft.id) {
      // The vote of this node counts when it is durable, as that of any other node does.
      raft.send(isPreVote ? "MsgPreVoteResp" : "MsgVoteResp", id, undefined, term);
      continue;
    }
    const fields = { index: lastIndex, logTerm: lastTerm, ...(kind === "transfer" && { context: transferContext }) };
    raft.send(isPreVote ? "MsgPreVote" : "MsgVote", id, fields, term);
  }
}
