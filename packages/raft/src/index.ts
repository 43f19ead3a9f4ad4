/**
 * Raft for Node.js programs: RaftNode drives the deterministic core of `@blixard/raft/core` over four ports (log,
 * snapshots, transport, state machine) and a clock.
 */
export type * from "./core/types.ts";
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
export type { Applied, RaftNodeApi, RaftNodeDeps, RaftNodeStatus } from "./raft-node-types.ts";
