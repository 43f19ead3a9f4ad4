/**
 * The hash chain over applied entries: H = sha256(H_before, index, term, changes). Two replicas with the same hash at
 * the same index have applied the same entries to the same state with the same effect.
 */
import { writeUtf8 } from "@blixard/common";

/** SHA-256, given by the owner of the process. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

export interface EncodedChange {
  readonly table: string;
  readonly key: string;
  /** Undefined where the record was deleted. */
  readonly value: Uint8Array | undefined;
}

export const hashBytes = 32;
/** The hash before the first entry. */
export const initialHash: Uint8Array = new Uint8Array(hashBytes);

/** Written in place of a length where a record was deleted: no value is as long, not even an empty one. */
const deletedMark = Number.MAX_SAFE_INTEGER;
const uint64Bytes = 8;

const utf8BytesMax = 3;
/** What is hashed next is put together here, again and again: memory of its own for each entry costs more than its hash. */
let input: Uint8Array = new Uint8Array(4_096);

/**
 * Hashes `before, index, term`, and for each change the table, the key and the value, each with its length before it;
 * all numbers as unsigned 64 bits, big-endian.
 */
export function extendHash(
  sha256: Sha256,
  before: Uint8Array,
  at: { readonly index: number; readonly term: number },
  changes: readonly EncodedChange[],
): Uint8Array {
  let lengthMax = before.length + 2 * uint64Bytes;
  for (const { table, key, value } of changes) {
    lengthMax += 3 * uint64Bytes + utf8BytesMax * (table.length + key.length) + (value?.length ?? 0);
  }
  if (input.length < lengthMax) input = new Uint8Array(lengthMax);
  input.set(before, 0);
  writeUint64(at.index, before.length);
  writeUint64(at.term, before.length + uint64Bytes);
  let end = before.length + 2 * uint64Bytes;
  for (const { table, key, value } of changes) {
    end = writeText(key, writeText(table, end));
    writeUint64(value === undefined ? deletedMark : value.length, end);
    end += uint64Bytes;
    if (value === undefined) continue;
    input.set(value, end);
    end += value.length;
  }
  return sha256(input.subarray(0, end));
}

function writeText(text: string, at: number): number {
  const end = writeUtf8(text, input, at + uint64Bytes);
  writeUint64(end - at - uint64Bytes, at);
  return end;
}

function writeUint64(value: number, at: number): void {
  writeUint32(Math.floor(value / 2 ** 32), at);
  writeUint32(value >>> 0, at + 4);
}

function writeUint32(value: number, at: number): void {
  input[at] = value >>> 24;
  input[at + 1] = value >>> 16;
  input[at + 2] = value >>> 8;
  input[at + 3] = value;
}
