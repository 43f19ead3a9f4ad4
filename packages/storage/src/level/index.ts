/** The ports LogStore, SnapshotStore and StateStore on Level, in one data directory. */
export type { LoadedState, StateChange, StateRecord, StateSnapshot, StateStore } from "../state-store.ts";
export type { LevelStorage, LevelStorageOptions } from "./open-level-storage.ts";
export { openLevelStorage } from "./open-level-storage.ts";
