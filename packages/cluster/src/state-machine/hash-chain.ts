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

/** What is hashed of most entries fits in here; nothing of it is kept. */
const scratch = new Uint8Array(16 * 1024);

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
  let bytesMax = before.length + 2 * uint64Bytes;
  for (const { table, key, value } of changes) {
    bytesMax += 3 * uint64Bytes + utf8BytesMax * (table.length + key.length) + (value?.length ?? 0);
  }
  const bytes = bytesMax <= scratch.length ? scratch : new Uint8Array(bytesMax);
  bytes.set(before, 0);
  let length = before.length;
  length = writeUint64(bytes, length, at.index);
  length = writeUint64(bytes, length, at.term);
  for (const { table, key, value } of changes) {
    length = writeText(bytes, length, table);
    length = writeText(bytes, length, key);
    length = writeUint64(bytes, length, value?.length ?? deletedMark);
    if (value === undefined) continue;
    bytes.set(value, length);
    length += value.length;
  }
  return sha256(bytes.subarray(0, length));
}

/** Of one unit of a text. */
const utf8BytesMax = 3;

/** Returns where it ends. */
function writeText(bytes: Uint8Array, at: number, text: string): number {
  const start = at + uint64Bytes;
  for (let unit = 0; unit < text.length; unit++) {
    const code = text.charCodeAt(unit);
    if (code >= 0x80) {
      // Rare: from the first one that is no ASCII on.
      const rest = fromUtf8(text.slice(unit));
      bytes.set(rest, start + unit);
      writeUint64(bytes, at, unit + rest.length);
      return start + unit + rest.length;
    }
    bytes[start + unit] = code;
  }
  writeUint64(bytes, at, text.length);
  return start + text.length;
}

/** Big-endian. Returns where it ends. */
export function writeUint64(bytes: Uint8Array, at: number, value: number): number {
  const high = Math.floor(value / 2 ** 32);
  for (let byte = 0; byte < 4; byte++) {
    bytes[at + byte] = high >>> (24 - 8 * byte);
    bytes[at + 4 + byte] = value >>> (24 - 8 * byte);
  }
  return at + uint64Bytes;
}
