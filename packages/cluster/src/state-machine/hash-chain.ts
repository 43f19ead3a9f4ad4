/**
 * The hash chain over applied entries: H = sha256(H_before, index, term, changes). Two replicas with the same hash at
 * the same index have applied the same entries to the same state with the same effect.
 */
import { concatBytes, fromUtf8 } from "@blixard/common";

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

export function extendHash(
  sha256: Sha256,
  before: Uint8Array,
  at: { readonly index: number; readonly term: number },
  changes: readonly EncodedChange[],
): Uint8Array {
  const parts: Uint8Array[] = [before, uint64(at.index), uint64(at.term)];
  for (const change of changes) {
    for (const part of [fromUtf8(change.table), fromUtf8(change.key)]) parts.push(uint64(part.length), part);
    // A deletion must differ from an empty value: the length of a value is never the largest number.
    if (change.value === undefined) parts.push(uint64(Number.MAX_SAFE_INTEGER));
    else parts.push(uint64(change.value.length), change.value);
  }
  return sha256(concatBytes(parts));
}

function uint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(value / 2 ** 32));
  view.setUint32(4, value >>> 0);
  return bytes;
}
