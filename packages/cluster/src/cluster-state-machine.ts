/**
 * The replicated state as Raft's state machine: it decodes entries, lets the pure `applyCommand` decide and keeps the
 * tables in memory. It answers then: the entry is durable, and the state is made of the log. What the entries changed goes
 * to the store later, that of many entries together: all rows up to one entry, with its position, hash and configuration,
 * in one transaction. A crash takes the state back to such an entry, from which the log leads on.
 */
import { BlixardError, errorCodeOf, fromUtf8, RecentKeys, SerialQueue, toHex, toUtf8, Watch } from "@blixard/common";
import {
  type CommandCodec,
  commandCodec,
  decodeValue,
  encodeKnownValue,
  encodeValue,
  entryLevel,
  limits,
} from "@blixard/protocol";
import type { AppliedState, Entry, StateBacklog, StateMachine } from "@blixard/raft";
import { HashWindow, hashTable } from "./hash-window.ts";
import type { StateRecord, StateStore } from "./ports/state-store.ts";
import { readSnapshot, writeSnapshot } from "./snapshot-format.ts";
import {
  type Application,
  type AppliedCommand,
  type ApplyOptions,
  applyCommand,
  applyEmptyEntry,
  applyUnreadable,
} from "./state-machine/apply-command.ts";
import { type EncodedChange, extendHash, initialHash, type Sha256 } from "./state-machine/hash-chain.ts";
import { clusterLevel, upgradeHint } from "./state-machine/level.ts";
import { applyChange, emptyState, isTableName, type MutableState } from "./state-machine/state.ts";
import {
  type ApplierTable,
  type Change,
  type ClusterState,
  type TableName,
  tableNames,
} from "./state-machine/types.ts";
import { UnstoredChanges } from "./unstored-changes.ts";

/** The position of the state, and for each table the index at which it changed last. */
export interface StateVersion {
  readonly appliedIndex: number;
  readonly changed: { readonly [Table in TableName]: number };
}

/** The tables whose changes are followed key by key. */
const followedTables = ["kv", "vms"] as const satisfies readonly TableName[];
export type FollowedTable = (typeof followedTables)[number];

export interface ClusterStateMachine extends StateMachine<AppliedCommand> {
  /** The present state. Read it again after each await: a restore replaces it. */
  readonly state: ClusterState;
  readonly backlog: StateBacklog;
  /** Moves after each batch that was applied. */
  readonly version: Watch<StateVersion>;
  /** Keys of a table that changed after `index`; undefined when that is too long ago. */
  keysSince(table: FollowedTable, index: number): ReadonlySet<string> | undefined;
  /** Hash of the state after the entry at `index`, hexadecimal; undefined when it is not known (any more). */
  hashAt(index: number): string | undefined;
  hashes(from: number, to: number): readonly { readonly index: number; readonly term: number; readonly hash: string }[];
}

export interface ClusterStateMachineOptions {
  /** Entries whose hashes are kept for comparison. Default 10,000. */
  readonly hashWindow?: number;
  /** Entries over which a request id is remembered. Default `limits.requestWindowMax`. */
  readonly requestWindow?: number;
  /** The commands that the release knows, and the highest level that it understands. Default: those of this release. */
  readonly codec?: CommandCodec;
  /** What the commands of `codec` do. Default: those of this release. */
  readonly appliers?: ApplierTable;
}

const hashWindowDefault = 10_000;
/** Holds the hash of the state at its position; it is part of snapshots. */
const chainTable = "chain";
const chainKey = fromUtf8("hash");

export function createClusterStateMachine(
  store: StateStore,
  sha256: Sha256,
  options: ClusterStateMachineOptions = {},
): ClusterStateMachine {
  return new StoredStateMachine(store, sha256, options);
}

class StoredStateMachine implements ClusterStateMachine {
  readonly #store: StateStore;
  readonly #sha256: Sha256;
  readonly #codec: CommandCodec;
  readonly #applyOptions: ApplyOptions;
  readonly #queue = new SerialQueue();
  readonly #hashes: HashWindow;
  readonly #recentKeys: Readonly<Record<FollowedTable, RecentKeys>> = { kv: new RecentKeys(), vms: new RecentKeys() };
  readonly version = new Watch<StateVersion>(versionAt(0));
  #state: MutableState = emptyState();
  #hash: Uint8Array = initialHash;
  #loaded: Promise<AppliedState> | undefined;
  /** Where the tables in memory stand. */
  #applied: AppliedState | undefined;
  /** Where the store stands when it has taken all that it was given. */
  #givenIndex = 0;
  /** What the tables in memory have and the store was not given. */
  readonly #unstored = new UnstoredChanges();
  #bytesUnderWay = 0;
  readonly backlog: StateBacklog;

  constructor(store: StateStore, sha256: Sha256, options: ClusterStateMachineOptions) {
    this.#store = store;
    this.#sha256 = sha256;
    const { codec = commandCodec, requestWindow = limits.requestWindowMax, appliers } = options;
    this.#codec = codec;
    this.#applyOptions = { requestWindow, commands: codec.commands, ...(appliers === undefined ? {} : { appliers }) };
    this.#hashes = new HashWindow(options.hashWindow ?? hashWindowDefault);
    const bytes = () => this.#unstored.bytes + this.#bytesUnderWay;
    this.backlog = {
      get bytes() {
        return bytes();
      },
      store: async () => {
        // The queue is not held while the disk works: what is applied meanwhile goes into the next write.
        const { written } = await this.#queue.run(async () => ({ written: this.#writeUnstored() }));
        await written;
      },
    };
  }

  get state(): ClusterState {
    return this.#state;
  }

  keysSince(table: FollowedTable, index: number): ReadonlySet<string> | undefined {
    return this.#recentKeys[table].since(index);
  }

  hashAt(index: number): string | undefined {
    const row = this.#hashes.at(index);
    if (row !== undefined) return toHex(row.hash);
    return index === this.version.value.appliedIndex ? toHex(this.#hash) : undefined;
  }

  hashes(from: number, to: number) {
    return this.#hashes.range(from, to).map(({ index, term, hash }) => ({ index, term, hash: toHex(hash) }));
  }

  /** May be called before Raft does, by whoever needs the state to decide how to start. */
  load(): Promise<AppliedState> {
    this.#loaded ??= this.#queue.run(async () => {
      const { applied, records } = await this.#store.load();
      for await (const batch of records) for (const record of batch) this.#take(this.#state, record);
      this.#assertLevel("the state", clusterLevel(this.#state), this.#state);
      this.#resetRecent(applied.index);
      this.version.set(versionAt(applied.index));
      this.#applied = applied;
      this.#givenIndex = applied.index;
      this.#store.onDamaged?.(() => {
        // A store that cannot be written says so to the next write too.
        this.#queue.run(() => this.#storeAnew()).catch(() => {});
      });
      return applied;
    });
    return this.#loaded;
  }

  /** What is stored was found damaged; what is in memory is whole. Nothing is applied meanwhile. */
  async #storeAnew(): Promise<void> {
    if (this.#applied === undefined) return;
    await this.#store.replaceAll(this.#applied, this.#records());
    this.#unstored.clear();
    this.#givenIndex = this.#applied.index;
  }

  async *#records(): AsyncIterable<readonly StateRecord[]> {
    for (const table of tableNames) {
      const records: ReadonlyMap<string, unknown> = this.#state[table];
      yield [...records].map(([key, value]) => ({ table, key: fromUtf8(key), value: encodeValue(value) }));
    }
    yield [{ table: chainTable, key: chainKey, value: this.#hash }];
    yield this.#hashes
      .storedAnew()
      .flatMap(({ table, key, value }) => (value === undefined ? [] : [{ table, key, value }]));
  }

  apply(entries: readonly Entry[], after: AppliedState): Promise<readonly (AppliedCommand | undefined)[]> {
    return this.#queue.run(async () => {
      for (const entry of entries) this.#assertUnderstood(entry);
      // While a batch is half applied the tables stand nowhere, and nothing of them may be stored: also when it fails.
      this.#applied = undefined;
      const { results, changes, tables, keys } = this.#applyAll(entries);
      for (const change of changes) this.#unstored.add(change);
      this.#applied = after;
      const changed = { ...this.version.value.changed };
      for (const table of tables) changed[table] = after.index;
      for (const table of followedTables) this.#recentKeys[table].add(after.index, keys[table]);
      this.version.set({ appliedIndex: after.index, changed });
      return results;
    });
  }

  /**
   * Gives the store everything up to the last applied entry. Called in the queue, where no entry is half applied.
   * Undefined when the store has it already.
   */
  #writeUnstored(): Promise<void> | undefined {
    const applied = this.#applied;
    if (applied === undefined || applied.index === this.#givenIndex) return undefined;
    const { bytes } = this.#unstored;
    const changes = this.#unstored.take();
    changes.push({ table: chainTable, key: chainKey, value: this.#hash }, ...this.#hashes.takeUnstored());
    this.#givenIndex = applied.index;
    this.#bytesUnderWay += bytes;
    const written = this.#store.write(changes, applied).then(() => {
      this.#bytesUnderWay -= bytes;
    });
    // Whoever waits for it is told. A store that cannot be written refuses all that follows, too.
    written.catch(() => {});
    return written;
  }

  snapshot(): Promise<{ readonly at: AppliedState; readonly chunks: AsyncIterable<Uint8Array> }> {
    return this.#queue.run(async () => {
      await this.#writeUnstored();
      const snapshot = await this.#store.snapshot();
      const level = clusterLevel(this.#state);
      const chunks = writeSnapshot(snapshot.records, (record) => record.table !== hashTable, level);
      return { at: snapshot.applied, chunks: closing(chunks, () => snapshot.close()) };
    });
  }

  restore(at: AppliedState, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    return this.#queue.run(async () => {
      const state = emptyState();
      let hash = initialHash;
      const take = (record: StateRecord) => {
        if (record.table === chainTable) hash = record.value;
        else this.#take(state, record);
      };
      await this.#store.replaceAll(at, tapped(readSnapshot(chunks, this.#codec.level), take));
      this.#state = state;
      this.#hash = hash;
      this.#applied = at;
      this.#givenIndex = at.index;
      this.#unstored.clear();
      this.#hashes.clear();
      this.#resetRecent(at.index);
      this.version.set(versionAt(at.index));
    });
  }

  async flush(): Promise<void> {
    const { flushed } = await this.#queue.run(async () => {
      await this.#writeUnstored();
      const flushed = this.#store.flush();
      flushed.catch(() => {});
      return { flushed };
    });
    await flushed;
  }

  close(): Promise<void> {
    return this.#queue.run(async () => {
      try {
        await this.#writeUnstored();
      } finally {
        await this.#store.close();
      }
    });
  }

  #resetRecent(index: number): void {
    for (const table of followedTables) this.#recentKeys[table].reset(index);
  }

  #take(state: MutableState, record: StateRecord): void {
    if (record.table === chainTable) this.#hash = record.value;
    else if (record.table === hashTable) this.#hashes.load(record.key, record.value);
    else if (isTableName(record.table)) {
      const change = {
        table: record.table,
        key: toUtf8(record.key),
        value: decodeValue(record.value, { stored: true }),
      };
      // The store checks its bytes, and only `apply` on some replica has written them.
      applyChange(state, change as Change);
    } else {
      // Names of tables are checked with the rest of the bytes: a later release has written this one.
      throw needsUpgrade(
        `the state has a table ${record.table}, which this release does not know`,
        state,
        this.#codec.level + 1,
      );
    }
  }

  /** What a later release proposed is not applied in part, nor passed over: the replica would fall behind in silence. */
  #assertUnderstood(entry: Entry): void {
    if (entry.kind !== "normal") return;
    this.#assertLevel(`the log entry at ${entry.index}`, entryLevel(entry.data), this.#state);
  }

  #assertLevel(what: string, needed: number, state: ClusterState): void {
    const { level } = this.#codec;
    if (needed <= level) return;
    throw needsUpgrade(`${what} needs feature level ${needed}, and this release understands ${level}`, state, needed);
  }

  #applyAll(entries: readonly Entry[]) {
    const results: (AppliedCommand | undefined)[] = [];
    const changes: EncodedChange[] = [];
    const tables = new Set<TableName>();
    const keys: Record<FollowedTable, Set<string>> = { kv: new Set(), vms: new Set() };
    for (const entry of entries) {
      const application = this.#applyEntry(entry);
      const encoded: EncodedChange[] = [];
      for (const change of application.changes) {
        const { table, key, value } = change;
        const row = { table, key, value: value === undefined ? undefined : encodeKnownValue(value) };
        encoded.push(row);
        changes.push(row);
        applyChange(this.#state, change);
        tables.add(table);
        if (table === "kv" || table === "vms") keys[table].add(key);
      }
      this.#hash = extendHash(this.#sha256, this.#hash, entry, encoded);
      this.#hashes.add({ index: entry.index, term: entry.term, hash: this.#hash });
      results.push(application.applied);
    }
    return { results, changes, tables, keys };
  }

  #applyEntry(entry: Entry): Omit<Application, "applied"> & { readonly applied: AppliedCommand | undefined } {
    const at = { index: entry.index, term: entry.term };
    const options = this.#applyOptions;
    if (entry.kind !== "normal" || entry.data.length === 0) {
      return { applied: undefined, changes: applyEmptyEntry(this.#state, at, options) };
    }
    try {
      return applyCommand(this.#state, this.#codec.decode(entry.data), at, options);
    } catch (error) {
      // Garbage is refused alike by every replica, so that one bad entry does not stop them all for ever.
      if (errorCodeOf(error) !== "INVALID_ARGUMENT") throw error;
      return applyUnreadable(this.#state, at, options);
    }
  }
}

function needsUpgrade(message: string, state: ClusterState, level: number): BlixardError {
  return new BlixardError("NEEDS_UPGRADE", message, { hint: upgradeHint(state, level), details: { level } });
}

function versionAt(index: number): StateVersion {
  const changed = Object.fromEntries(tableNames.map((table) => [table, index])) as Record<TableName, number>;
  return { appliedIndex: index, changed };
}

/** Releases what the chunks are read from, also when the reader stops early. */
async function* closing(chunks: AsyncIterable<Uint8Array>, close: () => Promise<void>): AsyncIterable<Uint8Array> {
  try {
    yield* chunks;
  } finally {
    await close();
  }
}

async function* tapped(
  batches: AsyncIterable<readonly StateRecord[]>,
  take: (record: StateRecord) => void,
): AsyncIterable<readonly StateRecord[]> {
  for await (const batch of batches) {
    for (const record of batch) take(record);
    yield batch;
  }
}
