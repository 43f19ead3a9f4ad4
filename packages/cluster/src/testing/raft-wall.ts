/**
 * From whom each type of Raft message and each other envelope is taken, written by hand. It is not made from the table of
 * `raft-access.ts`, nor that one from it: tests hold the product against it, in this package and on the real binary.
 */
type Sender = "voter" | "witness" | "learner" | "worker" | "removed" | "unknown" | "banned";

export const raftWall: Readonly<Record<string, readonly Sender[]>> = {
  MsgApp: ["voter", "witness"],
  MsgAppResp: ["voter", "witness", "learner", "worker", "banned"],
  MsgVote: ["voter", "witness"],
  MsgVoteResp: ["voter", "witness"],
  MsgPreVote: ["voter", "witness"],
  MsgPreVoteResp: ["voter", "witness"],
  MsgHeartbeat: ["voter", "witness"],
  MsgHeartbeatResp: ["voter", "witness", "learner", "worker", "banned"],
  MsgTimeoutNow: ["voter", "witness"],
  MsgTransferLeader: ["voter", "witness"],
  MsgReadIndex: ["voter", "witness", "learner", "worker"],
  MsgReadIndexResp: ["voter", "witness"],
  MsgSnap: [],
  MsgProp: [],
  MsgHup: [],
  MsgBeat: [],
  MsgUnreachable: [],
  MsgSnapStatus: [],
  MsgCheckQuorum: [],
  MsgForgetLeader: [],
  MsgStorageAppend: [],
  MsgStorageAppendResp: [],
  MsgStorageApply: [],
  MsgStorageApplyResp: [],
  snapshotChunk: ["voter", "witness"],
  snapshotAck: ["voter", "witness", "learner", "worker", "banned"],
  proposal: [],
  proposalAnswer: [],
};
