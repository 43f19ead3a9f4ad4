/**
 * What a follower does with each message.
 */
import { campaign } from "./election.ts";
import { handleSnapshot } from "./membership.ts";
import { newMessage, noTerm, senderOf } from "./messages.ts";
import type { Raft } from "./raft.ts";
import { handleAppend, handleHeartbeat } from "./replication.ts";
import type { StepResult } from "./step-result.ts";
import { type Message, noNode } from "./types.ts";

export function stepFollower(raft: Raft, message: Message): StepResult {
  switch (message.type) {
    case "MsgProp":
      return forwardProposal(raft, message);
    case "MsgApp":
      hearLeader(raft, message);
      handleAppend(raft, message);
      break;
    case "MsgHeartbeat":
      hearLeader(raft, message);
      handleHeartbeat(raft, message);
      break;
    case "MsgSnap":
      hearLeader(raft, message);
      handleSnapshot(raft, message);
      break;
    case "MsgTransferLeader":
      // The sender of this message is the node that shall lead.
      if (raft.lead !== noNode) raft.enqueue(newMessage("MsgTransferLeader", message.from, raft.lead, raft.term));
      break;
    case "MsgForgetLeader":
      forgetLeader(raft);
      break;
    case "MsgTimeoutNow":
      // Without pre-vote: the leader itself asked, so this is no recovery from a partition.
      campaign(raft, "transfer");
      break;
    case "MsgReadIndex":
      forwardRead(raft, message);
      break;
    case "MsgReadIndexResp":
      takeReadState(raft, message);
      break;
    default:
      // Answers to an earlier role.
      break;
  }
  return "stepped";
}

function hearLeader(raft: Raft, message: Message): void {
  raft.electionElapsed = 0;
  raft.lead = senderOf(message);
}

function forwardProposal(raft: Raft, message: Message): StepResult {
  if (raft.lead === noNode || raft.config.disableProposalForwarding) {
    raft.emit({ type: "proposalDropped", reason: raft.lead === noNode ? "no_leader" : "forwarding_disabled" });
    return "dropped";
  }
  forward(raft, message);
  return "stepped";
}

function forwardRead(raft: Raft, message: Message): void {
  if (raft.lead === noNode) raft.emit({ type: "readDropped", reason: "no_leader" });
  else forward(raft, message);
}

/** Forwards under the id of the first sender and without a term: the leader treats it like a request of its own. */
function forward(raft: Raft, { type, from, entries }: Message): void {
  raft.enqueue(newMessage(type, from === noNode ? raft.id : from, raft.lead, noTerm, { entries }));
}

/** Gives up the leader, so that this node may vote before its election timeout. A lease rests on that timeout. */
function forgetLeader(raft: Raft): void {
  if (raft.config.readOnly === "lease-based" || raft.lead === noNode) return;
  raft.emit({ type: "leaderForgotten", lead: raft.lead });
  raft.lead = noNode;
}

function takeReadState(raft: Raft, message: Message): void {
  const [entry] = message.entries;
  if (message.entries.length !== 1 || entry?.kind !== "normal") return;
  raft.readStates.push({ index: message.index, context: entry.data });
}
