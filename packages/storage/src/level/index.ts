/** The ports LogStore, SnapshotStore and StateStore on Level, in one data directory. */
export type { LoadedState, StateChange, StateRecord, StateSnapshot, StateStore } from "../state-store.ts";
export type { ApplyCommand, StateReader, StateStoreMachine, StateTables } from "../state-store-machine.ts";
export { stateStoreMachine } from "../state-store-machine.ts";
export type { CheckLevelStorageOptions, StorageFinding, StorageReport } from "./check-level-storage.ts";
export { checkLevelStorage } from "./check-level-storage.ts";
export type { ScrubStatus, StorageHealth } from "./damage-ledger.ts";
export type { LevelBatch, LevelDatabase, LevelIterator, LevelView } from "./level-handle.ts";
export { isLogDamage } from "./log-damage.ts";
export type { LevelStorage, LevelStorageOptions } from "./open-level-storage.ts";
export { openLevelStorage } from "./open-level-storage.ts";
export type { ScrubOptions } from "./scrubber.ts";
export type { SlotDisk as VoteDisk } from "./slot-file.ts";
export { assertStoreNotInUse, copyStore, hasStore, moveStore } from "./store-files.ts";
export type { OpenLevelDatabases } from "./stores-over.ts";
export { openStoresOver } from "./stores-over.ts";
