/** The ports LogStore, SnapshotStore and StateStore in memory, for tests and the simulator. */
export type { LoadedState, StateChange, StateRecord, StateSnapshot, StateStore } from "../state-store.ts";
export { MemoryLogStore } from "./memory-log-store.ts";
export { MemorySnapshotStore } from "./memory-snapshot-store.ts";
export { MemoryStateStore } from "./memory-state-store.ts";
