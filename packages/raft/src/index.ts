/**
 * Raft for Node.js programs: RaftNode drives the deterministic core of `@blixard/raft/core` over four ports (log,
 * snapshots, transport, state machine) and a clock.
 */
export { asLogIndex, asNodeId, asTerm, emptyConfState, noNode } from "./core/index.ts";
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
} from "./core/types.ts";
export type { RaftNodeOptions } from "./options.ts";
export type {
  AppliedState,
  LogContents,
  LogStore,
  LogWrite,
  PeerMessage,
  PeerTransport,
  PeerTransportHandlers,
  SnapshotMeta,
  SnapshotStore,
  StateMachine,
} from "./ports.ts";
export { createRaftNode } from "./raft-node.ts";
export type { Applied, RaftNodeApi, RaftNodeDeps, RaftNodeStatus } from "./raft-node-types.ts";
