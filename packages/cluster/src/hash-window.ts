/**
 * The hashes of the latest applied entries, so that replicas can be compared at an index in the past. One stored row
 * holds those of one write; rows leave when they are out of the window.
 */
import { fromUtf8, toUtf8 } from "@blixard/common";
import type { StateChange } from "./ports/state-store.ts";
import { hashBytes } from "./state-machine/hash-chain.ts";
import { requestRowKey } from "./state-machine/state.ts";

export interface HashRow {
  readonly index: number;
  readonly term: number;
  readonly hash: Uint8Array;
}

export const hashTable = "hashes";
const rowBytes = 16 + hashBytes;

export class HashWindow {
  readonly #entriesMax: number;
  /** In order of their indexes. */
  #rows: HashRow[] = [];
  /** Keys of the stored rows, each the last index in it, ascending. */
  #stored: number[] = [];
  /** How many of the newest rows stand in no stored row. */
  #unstored = 0;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  /** Takes a stored row back. Rows come in the order of their keys. */
  load(key: Uint8Array, value: Uint8Array): void {
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
    for (let at = 0; at + rowBytes <= value.length; at += rowBytes) {
      const uint64 = (offset: number) => view.getUint32(offset) * 2 ** 32 + view.getUint32(offset + 4);
      this.#rows.push({ index: uint64(at), term: uint64(at + 8), hash: value.slice(at + 16, at + rowBytes) });
    }
    this.#stored.push(Number(toUtf8(key)));
  }

  /** Adds the row of the entry behind the last one. */
  add(row: HashRow): void {
    this.#rows.push(row);
    this.#unstored++;
    const excess = this.#rows.length - this.#entriesMax;
    // Cutting in large pieces keeps the cost of one entry constant.
    if (excess > this.#entriesMax / 4) this.#rows = this.#rows.slice(excess);
  }

  /** What to store of the rows that were added since the last call. */
  takeUnstored(): StateChange[] {
    const rows = this.#rows.slice(Math.max(0, this.#rows.length - this.#unstored));
    this.#unstored = 0;
    const last = rows.at(-1);
    if (last === undefined) return [];
    const value = new Uint8Array(rows.length * rowBytes);
    const view = new DataView(value.buffer);
    for (const [at, row] of rows.entries()) {
      for (const [offset, part] of [row.index, row.term].entries()) {
        view.setUint32(at * rowBytes + offset * 8, Math.floor(part / 2 ** 32));
        view.setUint32(at * rowBytes + offset * 8 + 4, part >>> 0);
      }
      value.set(row.hash, at * rowBytes + 16);
    }
    const changes: StateChange[] = [{ table: hashTable, key: fromUtf8(requestRowKey(last.index)), value }];
    while ((this.#stored[0] ?? Number.MAX_SAFE_INTEGER) <= last.index - this.#entriesMax) {
      changes.push({ table: hashTable, key: fromUtf8(requestRowKey(this.#stored.shift() ?? 0)), value: undefined });
    }
    this.#stored.push(last.index);
    return changes;
  }

  /** What to store of everything that is known, in the place of all that was stored. */
  storedAnew(): StateChange[] {
    this.#stored = [];
    this.#unstored = this.#rows.length;
    return this.takeUnstored();
  }

  clear(): void {
    this.#rows = [];
    this.#stored = [];
    this.#unstored = 0;
  }

  at(index: number): HashRow | undefined {
    const first = this.#rows[0];
    return first === undefined ? undefined : this.#rows[index - first.index];
  }

  /** The rows from index `from` up to and including `to` that are still known. */
  range(from: number, to: number): readonly HashRow[] {
    return this.#rows.filter((row) => row.index >= from && row.index <= to);
  }
}
