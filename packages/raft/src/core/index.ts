/**
 * The deterministic Raft core: messages and ticks go in, a Ready comes out. It does no I/O and reads no clock.
 */
export type { ConfChangeBase, Membership } from "./conf-change.ts";
export { enterJoint, leaveJoint, simpleChange } from "./conf-change.ts";
export { entrySizeBytes } from "./entry-size.ts";
export { RaftError } from "./errors.ts";
export type { ConfChangeRefusal, RaftEvent, RaftEventLevel } from "./events.ts";
export type { VoteResult } from "./quorum.ts";
export { committedIndex, voteResult } from "./quorum.ts";
export type { RaftConfig, RaftCore, RaftErrorCode, RaftStorage } from "./raft-core.ts";
export { createRaftCore } from "./raw-node.ts";
export { emptyConfState } from "./tracker.ts";
export type {
  ConfChange,
  ConfChangeEntry,
  ConfChangeOp,
  ConfState,
  Entry,
  HardState,
  LogIndex,
  Message,
  MessageTarget,
  MessageType,
  NodeId,
  NormalEntry,
  ProgressState,
  ProgressStatus,
  ReadState,
  Ready,
  Role,
  Snapshot,
  SoftState,
  Status,
  Term,
} from "./types.ts";
export { asLogIndex, asNodeId, asTerm, noNode } from "./types.ts";
