/** Changes that were applied and are not stored yet. Of a record that changed twice only the last value is left. */
import { fromUtf8 } from "@blixard/common";
import type { StateChange } from "./ports/state-store.ts";
import type { EncodedChange } from "./state-machine/hash-chain.ts";

export class UnstoredChanges {
  #tables = new Map<string, Map<string, Uint8Array | undefined>>();
  #bytes = 0;

  /** Bytes of keys and values. */
  get bytes(): number {
    return this.#bytes;
  }

  add({ table, key, value }: EncodedChange): void {
    let rows = this.#tables.get(table);
    if (rows === undefined) {
      rows = new Map();
      this.#tables.set(table, rows);
    }
    const before = rows.get(key);
    if (before === undefined && !rows.has(key)) this.#bytes += key.length;
    this.#bytes += (value?.length ?? 0) - (before?.length ?? 0);
    rows.set(key, value);
  }

  /** Everything, which is then gone from here. */
  take(): StateChange[] {
    const changes: StateChange[] = [];
    for (const [table, rows] of this.#tables) {
      for (const [key, value] of rows) changes.push({ table, key: fromUtf8(key), value });
    }
    this.clear();
    return changes;
  }

  clear(): void {
    this.#tables = new Map();
    this.#bytes = 0;
  }
}
