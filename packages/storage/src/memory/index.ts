/** The ports LogStore, SnapshotStore and StateStore in memory, for tests and the simulator. */
export { MemoryLogStore, MemorySnapshotStore } from "@blixard/raft/testing";
export type { LoadedState, StateChange, StateRecord, StateSnapshot, StateStore } from "../state-store.ts";
export type { ApplyCommand, StateReader, StateStoreMachine, StateTables } from "../state-store-machine.ts";
export { stateStoreMachine } from "../state-store-machine.ts";
export { MemoryStateStore } from "./memory-state-store.ts";
