/**
 * The hash chain over applied entries: H = sha256(H_before, index, term, changes). Two replicas with the same hash at
 * the same index have applied the same entries to the same state with the same effect.
 */
import { fromUtf8 } from "@blixard/common";

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
  const parts: (Uint8Array | undefined)[] = [];
  for (const { table, key, value } of changes) parts.push(fromUtf8(table), fromUtf8(key), value);
  let length = before.length + 2 * uint64Bytes;
  for (const part of parts) length += uint64Bytes + (part?.length ?? 0);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes.set(before, 0);
  let offset = before.length;
  const uint64 = (value: number) => {
    view.setUint32(offset, Math.floor(value / 2 ** 32));
    view.setUint32(offset + 4, value >>> 0);
    offset += uint64Bytes;
  };
  uint64(at.index);
  uint64(at.term);
  for (const part of parts) {
    uint64(part?.length ?? deletedMark);
    if (part === undefined) continue;
    bytes.set(part, offset);
    offset += part.length;
  }
  return sha256(bytes);
}
