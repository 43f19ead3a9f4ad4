/**
 * What a candidate and a pre-candidate do with each message.
 */
import { countVote } from "./election.ts";
import { handleSnapshot } from "./membership.ts";
import { senderOf } from "./messages.ts";
import type { Raft } from "./raft.ts";
import { handleAppend, handleHeartbeat } from "./replication.ts";
import { becomeFollower } from "./roles.ts";
import type { StepResult } from "./step-result.ts";
import type { Message } from "./types.ts";

export function stepCandidate(raft: Raft, message: Message): StepResult {
  // Answers to an earlier pre-vote may still come in while the real election runs.
  const ownAnswer = raft.role === "StatePreCandidate" ? "MsgPreVoteResp" : "MsgVoteResp";
  switch (message.type) {
    case "MsgProp":
      raft.emit({ type: "proposalDropped", reason: "no_leader" });
      return "dropped";
    case "MsgApp":
      becomeFollower(raft, raft.term, senderOf(message));
      handleAppend(raft, message);
      break;
    case "MsgHeartbeat":
      becomeFollower(raft, raft.term, senderOf(message));
      handleHeartbeat(raft, message);
      break;
    case "MsgSnap":
      becomeFollower(raft, raft.term, senderOf(message));
      handleSnapshot(raft, message);
      break;
    case ownAnswer:
      countVote(raft, message);
      break;
    default:
      // A candidate has no leader to forward to and no peer to answer.
      break;
  }
  return "stepped";
}
