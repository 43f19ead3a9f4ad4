/**
 * Raft for Node.js programs: RaftNode drives the deterministic core of `@blixard/raft/core` over four ports (log,
 * snapshots, transport, state machine) and a clock.
 */
export { asLogIndex, asNodeId, asTerm, emptyConfState, noNode } from "./core/index.ts";
export type { RaftConfig, RaftCore, RaftErrorCode, RaftStorage } from "./core/raft-core.ts";
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
} from "./core/types.ts";
export type { MemberProgress } from "./membership/member-progress.ts";
export type { MemoryStateMachineOptions } from "./memory-state-machine.ts";
export { memoryStateMachine } from "./memory-state-machine.ts";
export type { RaftNodeEvent } from "./node-events.ts";
export type { RaftNodeOptions } from "./options.ts";
export { raftDefaults } from "./options.ts";
export type {
  AppliedState,
  LogCandidate,
  LogContents,
  LogLoadOptions,
  LogRepairSource,
  LogStore,
  LogWrite,
  PeerMessage,
  PeerTransport,
  PeerTransportHandlers,
  ProposalRefusalCode,
  ProposalVerdict,
  SnapshotCarrier,
  SnapshotMeta,
  SnapshotStore,
  StateBacklog,
  StateMachine,
} from "./ports.ts";
export type { ProposeRetryOptions } from "./proposals/propose-with-retry.ts";
export { proposeWithRetry } from "./proposals/propose-with-retry.ts";
export { openRaftNode } from "./raft-node.ts";
export type {
  AddOptions,
  Applied,
  CloseOptions,
  ConfChangeOptions,
  RaftNode,
  RaftNodeDeps,
  RaftNodeStatus,
  ReadConsistency,
  ReadOptions,
  SignalOptions,
} from "./raft-node-types.ts";
