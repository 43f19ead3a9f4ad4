/** A StateStore that survives `close` and a new `load`, but not its process. */
import { BlixardError, fromUtf8, toHex } from "@blixard/common";
import { type AppliedState, asLogIndex, asTerm, emptyConfState } from "@blixard/raft";
import type { StateChange, StateRecord, StateStore } from "../ports/state-store.ts";

const nothing: AppliedState = { index: asLogIndex(0), term: asTerm(0), confState: emptyConfState() };
const batchRecords = 100;

export class MemoryStateStore implements StateStore {
  #records = new Map<string, StateRecord>();
  #applied = nothing;
  #open = false;
  writes = 0;

  /** What a machine would find that was switched off now. */
  copy(): MemoryStateStore {
    const copy = new MemoryStateStore();
    copy.#records = new Map(this.#records);
    copy.#applied = this.#applied;
    return copy;
  }

  async load() {
    this.#open = true;
    return { applied: this.#applied, records: this.#batches() };
  }

  async write(changes: readonly StateChange[], applied: AppliedState): Promise<void> {
    if (!this.#open) throw new BlixardError("STOPPED", "the store is not open");
    this.writes++;
    for (const { table, key, value } of changes) {
      if (value === undefined) this.#records.delete(idOf(table, key));
      else this.#records.set(idOf(table, key), { table, key, value });
    }
    this.#applied = applied;
  }

  async replaceAll(applied: AppliedState, batches: AsyncIterable<readonly StateRecord[]>): Promise<void> {
    const records = new Map<string, StateRecord>();
    for await (const batch of batches) {
      for (const record of batch) records.set(idOf(record.table, record.key), record);
    }
    this.#records = records;
    this.#applied = applied;
  }

  async snapshot() {
    return { applied: this.#applied, records: this.#batches(), close: async () => {} };
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {
    this.#open = false;
  }

  /** The records as they are at the call, in order of table and key. */
  #batches(): AsyncIterable<readonly StateRecord[]> {
    const sorted = [...this.#records].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
    return (async function* () {
      for (let at = 0; at < sorted.length; at += batchRecords) yield sorted.slice(at, at + batchRecords);
    })();
  }
}

function idOf(table: string, key: Uint8Array): string {
  return `${toHex(fromUtf8(table))}/${toHex(key)}`;
}
