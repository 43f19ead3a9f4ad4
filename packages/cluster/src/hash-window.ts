/**
 * The hashes of the latest applied entries, so that replicas can be compared at an index in the past. One stored row
 * holds those of one write; rows leave when they are out of the window.
 */
import { fromUtf8, toUtf8 } from "@blixard/common";
import type { StateChange } from "./ports/state-store.ts";
import { hashBytes, writeUint64 } from "./state-machine/hash-chain.ts";
import { requestRowKey } from "./state-machine/state.ts";

export interface HashRow {
  readonly index: number;
  readonly term: number;
  readonly hash: Uint8Array;
}

export const hashTable = "hashes";
/** Index and term as unsigned 64 bits, then the hash: in memory as in the store, so that thousands of rows are one object. */
const rowBytes = 16 + hashBytes;

const rowsMin = 64;

function readUint64(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let offset = 0; offset < 8; offset++) value = value * 256 + (bytes[at + offset] ?? 0);
  return value;
}

export class HashWindow {
  readonly #entriesMax: number;
  /** In order of their indexes, one behind the other. */
  #rows = new Uint8Array(0);
  #count = 0;
  /** Keys of the stored rows, each the last index in it, ascending. */
  #stored: number[] = [];
  /** How many of the newest rows stand in no stored row. */
  #unstored = 0;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  /** Takes a stored row back. Rows come in the order of their keys. */
  load(key: Uint8Array, value: Uint8Array): void {
    for (let at = 0; at + rowBytes <= value.length; at += rowBytes) {
      const place = this.#place();
      this.#rows.set(value.subarray(at, at + rowBytes), place);
    }
    this.#stored.push(Number(toUtf8(key)));
  }

  /** Adds the row of the entry behind the last one. */
  add({ index, term, hash }: HashRow): void {
    const at = this.#place();
    writeUint64(this.#rows, at, index);
    writeUint64(this.#rows, at + 8, term);
    this.#rows.set(hash, at + 16);
    this.#unstored++;
  }

  /** Where the next row goes. */
  #place(): number {
    const capacity = this.#rows.length / rowBytes;
    if (this.#count === capacity) {
      // Cutting and growing in large pieces keeps the cost of one entry constant.
      const kept = Math.min(this.#count, this.#entriesMax);
      const room = Math.min(Math.max(rowsMin, kept / 4), Math.max(1, this.#entriesMax / 4));
      const rows = new Uint8Array((kept + Math.floor(room)) * rowBytes);
      rows.set(this.#rows.subarray((this.#count - kept) * rowBytes));
      this.#rows = rows;
      this.#count = kept;
    }
    return this.#count++ * rowBytes;
  }

  /** What to store of the rows that were added since the last call. */
  takeUnstored(): StateChange[] {
    const first = Math.max(0, this.#count - this.#unstored);
    this.#unstored = 0;
    if (first === this.#count) return [];
    const value = this.#rows.slice(first * rowBytes, this.#count * rowBytes);
    const { index } = this.#rowAt(this.#count - 1);
    const changes: StateChange[] = [{ table: hashTable, key: fromUtf8(requestRowKey(index)), value }];
    while ((this.#stored[0] ?? Number.MAX_SAFE_INTEGER) <= index - this.#entriesMax) {
      changes.push({ table: hashTable, key: fromUtf8(requestRowKey(this.#stored.shift() ?? 0)), value: undefined });
    }
    this.#stored.push(index);
    return changes;
  }

  /** What to store of everything that is known, in the place of all that was stored. */
  storedAnew(): StateChange[] {
    this.#stored = [];
    this.#unstored = this.#count;
    return this.takeUnstored();
  }

  clear(): void {
    this.#rows = new Uint8Array(0);
    this.#count = 0;
    this.#stored = [];
    this.#unstored = 0;
  }

  at(index: number): HashRow | undefined {
    if (this.#count === 0) return undefined;
    const place = index - this.#rowAt(0).index;
    return place >= 0 && place < this.#count ? this.#rowAt(place) : undefined;
  }

  /** The rows from index `from` up to and including `to` that are still known. */
  range(from: number, to: number): readonly HashRow[] {
    const rows = Array.from({ length: this.#count }, (_, place) => this.#rowAt(place));
    return rows.filter(({ index }) => index >= from && index <= to);
  }

  #rowAt(place: number): HashRow {
    const at = place * rowBytes;
    const hash = this.#rows.slice(at + 16, at + rowBytes);
    return { index: readUint64(this.#rows, at), term: readUint64(this.#rows, at + 8), hash };
  }
}
