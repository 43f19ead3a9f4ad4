/**
 * One node of the cluster from its ports: the replicated state machine, the scheduler, the service with its routing to
 * the leader, the leader's duties and the node's duties. The same node runs in the binary and in the simulator.
 */

export type { AuthenticatedCaller, StreamScope } from "./calls/call-types.ts";
export type {
  ClusterNode,
  ClusterNodeDeps,
  HeldBackNode,
  Lifecycle,
  Readiness,
  StartMode,
} from "./cluster-node-types.ts";
export type { ClusterStateMachine, ClusterStateMachineOptions, StateVersion } from "./cluster-state-machine.ts";
export { createClusterStateMachine } from "./cluster-state-machine.ts";
export { diskPartName } from "./duties/disk-copy-plan.ts";
export type { ClusterNodeOptions, JoinPolicy } from "./options.ts";
export type {
  ClusterEndpoint,
  ClusterPeer,
  ClusterTransport,
  IncomingCall,
  IncomingStream,
  NodeStart,
  ServedNode,
  SessionView,
} from "./ports/cluster-transport.ts";
export type { KeyRotation } from "./ports/key-rotation.ts";
export type { LocalJoins } from "./ports/local-joins.ts";
export type { NodeCertificates } from "./ports/node-certificates.ts";
export type { NodeSignatures } from "./ports/node-signatures.ts";
export type { OwnTokenStore } from "./ports/own-token.ts";
export type { PeerFinder } from "./ports/peer-finder.ts";
export type { SecretSealing } from "./ports/secret-sealing.ts";
export type { StateChange, StateRecord, StateStore } from "./ports/state-store.ts";
export { schedule } from "./scheduler/scheduler.ts";
export type { SchedulerOptions } from "./scheduler/scheduler-types.ts";
export type { JoinAttempt, JoinDeps, JoinSeed, JoinTarget } from "./start/join-flow.ts";
export { describeEndpoint, requestJoin } from "./start/join-flow.ts";
export { startClusterNode } from "./start/start-cluster-node.ts";
export type { AppliedCommand } from "./state-machine/apply-command.ts";
export { applyCommand } from "./state-machine/apply-command.ts";
export type { Sha256 } from "./state-machine/hash-chain.ts";
export type { Change, ClusterState } from "./state-machine/types.ts";
