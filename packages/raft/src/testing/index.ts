/** Conformance suites for the ports of RaftNode, stores in memory, and whole groups in one process, for tests. */
export { AppendLogMachine } from "./append-log-machine.ts";
export { describeLogStore } from "./describe-log-store.ts";
export type { PeerTransportRig, PeerTransportStart } from "./describe-peer-transport.ts";
export { describePeerTransport } from "./describe-peer-transport.ts";
export { describeSnapshotStore } from "./describe-snapshot-store.ts";
export { MemoryLogStore } from "./memory-log-store.ts";
export type { MemoryNetworkOptions } from "./memory-network.ts";
export { MemoryNetwork } from "./memory-network.ts";
export { memoryPorts } from "./memory-ports.ts";
export { MemorySnapshotStore } from "./memory-snapshot-store.ts";
export type { RaftGroupOptions, RaftMember } from "./raft-group.ts";
export { RaftGroup } from "./raft-group.ts";
export type { Reopenable, SuiteRunner } from "./suite-runner.ts";
export { settle, VirtualClock } from "./virtual-clock.ts";
