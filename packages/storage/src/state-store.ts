/**
 * The port for replicated state that outlives a restart: tables of byte keys and values, and the log position they
 * stand at. The state machine of `@blixard/cluster` keeps its working copy in memory and writes through here.
 */
import type { AppliedState } from "@blixard/raft";

export interface StateRecord {
  /** 1 to 255 bytes of UTF-8. */
  readonly table: string;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** A record to store, or to delete where `value` is undefined. */
export interface StateChange {
  readonly table: string;
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

export interface LoadedState {
  /** Index 0 for a state that was never written, or that was found incomplete and has to be rebuilt. */
  readonly applied: AppliedState;
  /** Every record once, grouped by table and in byte order of the keys. Batches bound the work between two awaits. */
  readonly records: AsyncIterable<readonly StateRecord[]>;
}

export interface StateSnapshot {
  readonly applied: AppliedState;
  /** The records as they were when the snapshot was taken; read them at most once. */
  readonly records: AsyncIterable<readonly StateRecord[]>;
  /** Releases the snapshot; needed only when the records were not read to their end. */
  close(): Promise<void>;
}

/**
 * Calls may overlap; they take effect in the order they were made. Any write error is final: the caller must stop.
 * Keys and values that go in belong to the store from the call on; those that come out belong to the caller.
 * A write is atomic. It becomes durable with the next {@link StateStore.flush}; a crash before that loses whole
 * writes from the newest on, or, when the disk kept them out of order, all of them (see {@link LoadedState.applied}).
 */
export interface StateStore {
  /** Called once, first. @throws STORAGE_CORRUPT when a checksum fails, also from the iteration */
  load(): Promise<LoadedState>;
  /** One atomic batch: the changes and the position that they lead to. */
  write(changes: readonly StateChange[], applied: AppliedState): Promise<void>;
  /** Replaces everything, atomically and durably, when the last batch was read. A failed call leaves no trace. */
  replaceAll(applied: AppliedState, batches: AsyncIterable<readonly StateRecord[]>): Promise<void>;
  snapshot(): Promise<StateSnapshot>;
  /** Makes every earlier write durable. */
  flush(): Promise<void>;
  /**
   * Sets the one listener that learns that what is stored was found damaged. Whoever holds the state in memory then
   * stores it anew with `replaceAll`.
   */
  onDamaged?(listener: () => void): void;
  close(): Promise<void>;
}
