/**
 * A state machine over a {@link StateStore}: a program gives the function that carries out one command, and its tables
 * are kept in memory, written through to the store, put into snapshots and taken from them.
 */
import { fromUtf8, SerialQueue, toUtf8 } from "@blixard/common";
import type { AppliedState, Entry, StateMachine } from "@blixard/raft";
import { decodeRecords, encodeRecords } from "./records/record-stream.ts";
import type { StateChange, StateRecord, StateSnapshot, StateStore } from "./state-store.ts";

export interface StateReader {
  /** The stored bytes, which nobody changes. */
  get(table: string, key: string): Uint8Array | undefined;
  /** All keys of a table, sorted. */
  keys(table: string): readonly string[];
}

/** What a command works on. A table is there once it has a key; its name has 1 to 255 bytes of UTF-8. */
export interface StateTables extends StateReader {
  /** The bytes belong to the state from the call on. */
  set(table: string, key: string, value: Uint8Array): void;
  delete(table: string, key: string): void;
}

/**
 * Carries out one command, alike on every node: it reads no clock and no random source, and only `tables` of what is
 * outside. A bad command has a result that says so; an error that is thrown stops the node.
 */
export type ApplyCommand<Result> = (data: Uint8Array, tables: StateTables) => Result;

export interface StateStoreMachine<Result> extends StateMachine<Result> {
  /** What was applied so far. After {@link RaftNode.read} it is fresh enough for that read. */
  readonly state: StateReader;
}

export function stateStoreMachine<Result>(store: StateStore, apply: ApplyCommand<Result>): StateStoreMachine<Result> {
  return new TableMachine(store, apply);
}

class TableMachine<Result> implements StateStoreMachine<Result> {
  readonly #store: StateStore;
  readonly #apply: ApplyCommand<Result>;
  #tables = new TablesInMemory();
  readonly #queue = new SerialQueue();
  /** Where the tables in memory stand. */
  #applied: AppliedState | undefined;

  constructor(store: StateStore, apply: ApplyCommand<Result>) {
    this.#store = store;
    this.#apply = apply;
  }

  get state(): StateReader {
    return this.#tables;
  }

  async load(): Promise<AppliedState> {
    const { applied, records } = await this.#store.load();
    for await (const batch of records) for (const record of batch) this.#tables.take(record);
    this.#applied = applied;
    this.#store.onDamaged?.(() => {
      // A store that cannot be written says so to the next `apply` too.
      this.#queue.run(() => this.#storeAnew()).catch(() => {});
    });
    return applied;
  }

  apply(entries: readonly Entry[], after: AppliedState): Promise<readonly (Result | undefined)[]> {
    return this.#queue.run(async () => {
      const results = entries.map((entry) =>
        entry.kind === "normal" && entry.data.length > 0 ? this.#apply(entry.data, this.#tables) : undefined,
      );
      this.#applied = after;
      await this.#store.write(this.#tables.takeChanges(), after);
      return results;
    });
  }

  /** What is stored was found damaged; what is in memory is whole. */
  async #storeAnew(): Promise<void> {
    if (this.#applied !== undefined) await this.#store.replaceAll(this.#applied, this.#tables.records());
  }

  async snapshot(): Promise<{ readonly at: AppliedState; readonly chunks: AsyncIterable<Uint8Array> }> {
    const snapshot = await this.#store.snapshot();
    return { at: snapshot.applied, chunks: chunksOf(snapshot) };
  }

  restore(at: AppliedState, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    return this.#queue.run(async () => {
      const tables = new TablesInMemory();
      await this.#store.replaceAll(at, taken(decodeRecords(chunks), tables));
      this.#tables = tables;
      this.#applied = at;
    });
  }

  flush(): Promise<void> {
    return this.#store.flush();
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

class TablesInMemory implements StateTables {
  readonly #tables = new Map<string, Map<string, Uint8Array>>();
  #changes: StateChange[] = [];

  get(table: string, key: string): Uint8Array | undefined {
    return this.#tables.get(table)?.get(key);
  }

  keys(table: string): readonly string[] {
    return [...(this.#tables.get(table)?.keys() ?? [])].sort();
  }

  set(table: string, key: string, value: Uint8Array): void {
    this.#put(table, key, value);
    this.#changes.push({ table, key: fromUtf8(key), value });
  }

  delete(table: string, key: string): void {
    this.#tables.get(table)?.delete(key);
    this.#changes.push({ table, key: fromUtf8(key), value: undefined });
  }

  /** A record that the store has already. */
  take({ table, key, value }: StateRecord): void {
    this.#put(table, toUtf8(key), value);
  }

  /** Everything, a batch for each table. */
  async *records(): AsyncIterable<readonly StateRecord[]> {
    for (const [table, keys] of this.#tables) {
      yield [...keys].map(([key, value]) => ({ table, key: fromUtf8(key), value }));
    }
  }

  takeChanges(): readonly StateChange[] {
    const changes = this.#changes;
    this.#changes = [];
    return changes;
  }

  #put(table: string, key: string, value: Uint8Array): void {
    const keys = this.#tables.get(table) ?? new Map<string, Uint8Array>();
    this.#tables.set(table, keys);
    keys.set(key, value);
  }
}

/** Releases the snapshot also when its reader stops early. */
async function* chunksOf(snapshot: StateSnapshot): AsyncIterable<Uint8Array> {
  try {
    yield* encodeRecords(snapshot.records);
  } finally {
    await snapshot.close();
  }
}

async function* taken(
  batches: AsyncIterable<readonly StateRecord[]>,
  tables: TablesInMemory,
): AsyncIterable<readonly StateRecord[]> {
  for await (const batch of batches) {
    for (const record of batch) tables.take(record);
    yield batch;
  }
}
