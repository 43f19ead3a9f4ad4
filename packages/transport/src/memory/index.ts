/** A network in memory with partitions, loss and latency, for tests and for the simulator. */
export type { MemoryAdapter, MemoryNetwork, MemoryNetworkDeps } from "./memory-network.ts";
export { createMemoryNetwork } from "./memory-network.ts";
