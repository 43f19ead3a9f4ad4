/**
 * What the cluster needs of a store for the replicated state: tables of byte keys and values with the log position
 * they stand at. The `StateStore` of `@blixard/storage` is one; the state machine keeps its working copy in memory.
 */
import type { AppliedState } from "@blixard/raft";

export interface StateRecord {
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

/** Calls may overlap; they take effect in the order they were made. Any write error is final. */
export interface StateStore {
  /** Called once, first. Index 0 for a state that was never written, or that has to be rebuilt from the log. */
  load(): Promise<{ readonly applied: AppliedState; readonly records: AsyncIterable<readonly StateRecord[]> }>;
  /** One atomic batch: the changes and the position that they lead to. Durable with the next `flush`. */
  write(changes: readonly StateChange[], applied: AppliedState): Promise<void>;
  /** Replaces everything, atomically and durably, when the last batch was read. A failed call leaves no trace. */
  replaceAll(applied: AppliedState, batches: AsyncIterable<readonly StateRecord[]>): Promise<void>;
  /** The records as they are now, in order of table and key; later writes do not change what is read. */
  snapshot(): Promise<{
    readonly applied: AppliedState;
    readonly records: AsyncIterable<readonly StateRecord[]>;
    close(): Promise<void>;
  }>;
  flush(): Promise<void>;
  /**
   * Sets the one listener that learns that what is stored was found damaged. Whoever holds the state in memory then
   * stores it anew with `replaceAll`.
   */
  onDamaged?(listener: () => void): void;
  close(): Promise<void>;
}
