/**
 * Which Raft messages are taken from whom: every type of message and every envelope against every role of a sender. A
 * type without a row does not compile, and a row is closed where it opens nothing.
 *
 * Who votes is trusted: a voter that lies can break any Raft of this kind, a witness as well. All others only answer: they
 * acknowledge what they got, and ask for an index to read at.
 */
import type { MemberRole } from "@blixard/protocol";
import type { MessageType, PeerMessage } from "@blixard/raft";

/** A sender as the receiver's own state knows it. */
export type SenderRole = MemberRole | "banned" | "removed" | "unknown";

/** The type of a Raft message, or of another envelope. */
export type PeerMessageType = MessageType | Exclude<PeerMessage["type"], "raft">;

export type RaftAccess = Readonly<Record<SenderRole, boolean>>;

const nobody: RaftAccess = {
  voter: false,
  witness: false,
  learner: false,
  worker: false,
  banned: false,
  removed: false,
  unknown: false,
};
const voters: RaftAccess = { ...nobody, voter: true, witness: true };
const members: RaftAccess = { ...voters, learner: true, worker: true };
/** What a banned node answers counts until the configuration is without it, which may need its acknowledgement. */
const answers: RaftAccess = { ...members, banned: true };

const byMessage: Readonly<Record<MessageType, RaftAccess>> = {
  MsgApp: voters,
  MsgAppResp: answers,
  MsgVote: voters,
  MsgVoteResp: voters,
  MsgPreVote: voters,
  MsgPreVoteResp: voters,
  MsgHeartbeat: voters,
  MsgHeartbeatResp: answers,
  MsgTimeoutNow: voters,
  MsgTransferLeader: voters,
  MsgReadIndex: members,
  MsgReadIndexResp: voters,
  // Travels as the chunks of its state.
  MsgSnap: nobody,
  // A node proposes what it decides itself, as the leader.
  MsgProp: nobody,
  // A node sends these to itself only.
  MsgHup: nobody,
  MsgBeat: nobody,
  MsgUnreachable: nobody,
  MsgSnapStatus: nobody,
  MsgCheckQuorum: nobody,
  MsgForgetLeader: nobody,
  MsgStorageAppend: nobody,
  MsgStorageAppendResp: nobody,
  MsgStorageApply: nobody,
  MsgStorageApplyResp: nobody,
};

const byEnvelope: Readonly<Record<Exclude<PeerMessage["type"], "raft">, RaftAccess>> = {
  snapshotChunk: voters,
  snapshotAck: answers,
  // Calls are passed on to the leader as a whole, because it decides what is proposed: never the proposals themselves.
  proposal: nobody,
  proposalAnswer: nobody,
};

export const raftAccess: Readonly<Record<PeerMessageType, RaftAccess>> = { ...byMessage, ...byEnvelope };
