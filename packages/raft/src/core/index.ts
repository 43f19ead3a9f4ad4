/**
 * The deterministic Raft core: messages and ticks go in, a Ready comes out. It does no I/O and reads no clock.
 */
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
  RaftConfig,
  RaftCore,
  RaftErrorCode,
  RaftStorage,
  ReadState,
  Ready,
  Role,
  Snapshot,
  SoftState,
  Status,
  Term,
} from "./types.ts";
export { asLogIndex, asNodeId, asTerm, noNode } from "./types.ts";
