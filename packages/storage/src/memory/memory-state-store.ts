/** Replicated state in memory; survives `close`, but not its process. */
import { assert, BlixardError, toHex } from "@blixard/common";
import type { AppliedState } from "@blixard/raft";
import { asLogIndex, asTerm } from "@blixard/raft/core";
import type { LoadedState, StateChange, StateRecord, StateSnapshot, StateStore } from "../state-store.ts";

const batchItemsMax = 256;
const emptyApplied: AppliedState = {
  index: asLogIndex(0),
  term: asTerm(0),
  confState: { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
};

export class MemoryStateStore implements StateStore {
  #applied: AppliedState = emptyApplied;
  /** By table, then by key as hexadecimal text, which sorts as the bytes do. */
  #records = new Map<string, StateRecord>();

  async load(): Promise<LoadedState> {
    return { applied: this.#applied, records: inBatches(sorted(this.#records)) };
  }

  async write(changes: readonly StateChange[], applied: AppliedState): Promise<void> {
    assert(applied.index >= this.#applied.index, `the state at ${this.#applied.index} cannot go back`);
    for (const { table } of changes) checkTable(table);
    for (const { table, key, value } of changes) {
      if (value === undefined) this.#records.delete(nameOf(table, key));
      else this.#records.set(nameOf(table, key), { table, key, value });
    }
    this.#applied = applied;
  }

  async replaceAll(applied: AppliedState, batches: AsyncIterable<readonly StateRecord[]>): Promise<void> {
    const records = new Map<string, StateRecord>();
    for await (const batch of batches) {
      for (const record of batch) {
        checkTable(record.table);
        records.set(nameOf(record.table, record.key), record);
      }
    }
    this.#records = records;
    this.#applied = applied;
  }

  async snapshot(): Promise<StateSnapshot> {
    return { applied: this.#applied, records: inBatches(sorted(this.#records)), close: async () => {} };
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {}
}

function sorted(records: ReadonlyMap<string, StateRecord>): readonly StateRecord[] {
  return [...records].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
}

async function* inBatches(records: readonly StateRecord[]): AsyncIterable<readonly StateRecord[]> {
  for (let at = 0; at < records.length; at += batchItemsMax) yield records.slice(at, at + batchItemsMax);
}

/** Sorts like the keys on disk: by length of the table's name, its bytes, then the key. */
function nameOf(table: string, key: Uint8Array): string {
  const bytes = new TextEncoder().encode(table);
  return toHex(Uint8Array.of(bytes.length, ...bytes)) + toHex(key);
}

function checkTable(table: string): void {
  const length = new TextEncoder().encode(table).length;
  if (length >= 1 && length <= 255) return;
  throw new BlixardError("INVALID_ARGUMENT", `a table name has 1 to 255 bytes, not ${length}`);
}
