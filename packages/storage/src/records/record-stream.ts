/**
 * Records as a stream of bytes, for snapshots. Equal records in equal order give equal bytes, however they are cut.
 *
 *     for each record   u32 length, then [table, key, value] as MessagePack
 *     at the end        u32 0, u32 count of the records          (integers big-endian)
 */
import { concatBytes } from "@blixard/common";
import type { StateRecord } from "../state-store.ts";
import { pack, unpack } from "./packed.ts";
import { corrupt } from "./record.ts";

const integerBytes = 4;
const endMark = 0;
/** Against a length that is garbage. */
const recordBytesMax = 256 * 1024 * 1024;

/** A chunk for each batch. */
export async function* encodeRecords(batches: AsyncIterable<readonly StateRecord[]>): AsyncIterable<Uint8Array> {
  let count = 0;
  for await (const batch of batches) {
    const parts = batch.flatMap(({ table, key, value }) => {
      const packed = pack([table, key, value]);
      return [uint32(packed.length), packed];
    });
    count += batch.length;
    yield concatBytes(parts);
  }
  yield concatBytes([uint32(endMark), uint32(count)]);
}

/** The records of a stream, in batches. @throws STORAGE_CORRUPT when it is cut or is none */
export async function* decodeRecords(chunks: AsyncIterable<Uint8Array>): AsyncIterable<readonly StateRecord[]> {
  let rest: Uint8Array = new Uint8Array(0);
  let count = 0;
  let ended = false;
  for await (const chunk of chunks) {
    const bytes = concatBytes([rest, chunk]);
    const { records, end } = recordsIn(bytes);
    count += records.length;
    if (records.length > 0) yield records;
    rest = bytes.subarray(end);
    ended = isEnd(rest, count);
  }
  if (!ended) throw corrupt("a snapshot is cut off");
}

/** All records that `bytes` hold whole, and where they end. */
function recordsIn(bytes: Uint8Array): { readonly records: readonly StateRecord[]; readonly end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: StateRecord[] = [];
  let end = 0;
  while (bytes.length - end >= integerBytes) {
    const length = view.getUint32(end);
    if (length > recordBytesMax) throw corrupt(`a record of a snapshot has ${length} bytes`);
    const from = end + integerBytes;
    if (length === endMark || bytes.length - from < length) break;
    records.push(decodeRecord(bytes.subarray(from, from + length)));
    end = from + length;
  }
  return { records, end };
}

/** Whether `rest` is the end mark; it may still be incomplete. */
function isEnd(rest: Uint8Array, count: number): boolean {
  if (rest.length < 2 * integerBytes) return false;
  const view = new DataView(rest.buffer, rest.byteOffset, rest.byteLength);
  if (view.getUint32(0) !== endMark) return false;
  if (rest.length > 2 * integerBytes || view.getUint32(integerBytes) !== count) {
    throw corrupt(`a snapshot ends after ${count} records, but not as it says`);
  }
  return true;
}

/** Copies key and value: the chunk that they came in is not kept. */
function decodeRecord(bytes: Uint8Array): StateRecord {
  const record = unpack<unknown>(bytes, "a record of a snapshot");
  const [table, key, value] = Array.isArray(record) ? record : [];
  if (typeof table !== "string" || !(key instanceof Uint8Array) || !(value instanceof Uint8Array)) {
    throw corrupt("a record of a snapshot is none");
  }
  return { table, key: new Uint8Array(key), value: new Uint8Array(value) };
}

function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(integerBytes);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}
