/** A network in memory with partitions, loss and latency, for tests and for the simulator. */
export type { MemoryNetworkDeps } from "./direction.ts";
export type { MemoryAdapter } from "./memory-endpoint.ts";
export type { MemoryNetwork } from "./memory-network.ts";
export { createMemoryNetwork } from "./memory-network.ts";
