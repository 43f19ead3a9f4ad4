/**
 * The state as a stream of bytes, for snapshots: magic and format version, from format 2 on one byte with the feature
 * level that the state needs, then records, then an end mark with their count. Format 1 is that of the base level, whose
 * releases read no other. A record is `u32 length, u8 table length, table, u16 key length, key, value`, big-endian. Streams are read and
 * written in pieces, so that memory stays bounded however large the state is.
 */
import { assertBelow, BlixardError, concatBytes, fromUtf8, toUtf8 } from "@blixard/common";
import { featureLevels, limits } from "@blixard/protocol";
import type { StateRecord } from "./ports/state-store.ts";

/** "BLXS"; the format version follows. */
const magic = Uint8Array.of(0x42, 0x4c, 0x58, 0x53);
const format = { plain: 1, withLevel: 2 } as const;
const chunkBytes = 64 * 1024;
const endMark = 0xffff_ffff;
/** Largest record that is read: a value of 64 KiB and much room, against a length that is garbage. */
const recordBytesMax = 16 * 1024 * 1024;
assertBelow({ commandBytesMax: limits.commandBytesMax }, { recordBytesMax }, "a record holds what a command brings");
const batchRecordsMax = 256;

/** `level` is that of the cluster as of this state. */
export async function* writeSnapshot(
  batches: AsyncIterable<readonly StateRecord[]>,
  keep: (record: StateRecord) => boolean,
  level: number,
): AsyncIterable<Uint8Array> {
  const head = level <= featureLevels.base ? [format.plain] : [format.withLevel, level];
  let parts: Uint8Array[] = [magic, Uint8Array.from(head)];
  let size = magic.length + head.length;
  let count = 0;
  for await (const batch of batches) {
    for (const record of batch) {
      if (!keep(record)) continue;
      const bytes = encodeRecord(record);
      parts.push(bytes);
      size += bytes.length;
      count++;
      if (size < chunkBytes) continue;
      yield concatBytes(parts);
      parts = [];
      size = 0;
    }
  }
  parts.push(uint32(endMark), uint32(count));
  yield concatBytes(parts);
}

/**
 * The records of a stream, in batches, for a release that understands `levelMax`.
 * @throws STORAGE_CORRUPT when it is cut or foreign, NEEDS_UPGRADE when a later release wrote it
 */
export async function* readSnapshot(
  chunks: AsyncIterable<Uint8Array>,
  levelMax: number,
): AsyncIterable<readonly StateRecord[]> {
  let buffer: Uint8Array = new Uint8Array(0);
  let started = false;
  let ended = false;
  let count = 0;
  let batch: StateRecord[] = [];
  for await (const chunk of chunks) {
    buffer = buffer.length === 0 ? chunk : concatBytes([buffer, chunk]);
    let at = 0;
    if (!started) {
      at = headLength(buffer, levelMax);
      if (at === 0) continue;
      started = true;
    }
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    while (!ended && buffer.length - at >= 4) {
      const length = view.getUint32(at);
      if (length === endMark) {
        if (buffer.length - at < 8) break;
        if (view.getUint32(at + 4) !== count) throw corrupt("records are missing");
        at += 8;
        ended = true;
        break;
      }
      if (length > recordBytesMax) throw corrupt("a record is too long");
      if (buffer.length - at - 4 < length) break;
      batch.push(decodeRecord(buffer.subarray(at + 4, at + 4 + length)));
      at += 4 + length;
      count++;
      if (batch.length < batchRecordsMax) continue;
      yield batch;
      batch = [];
    }
    buffer = buffer.subarray(at);
    if (ended && buffer.length > 0) throw corrupt("bytes are left over");
  }
  if (!ended) throw corrupt("it ends early");
  if (batch.length > 0) yield batch;
}

/** Bytes before the first record; 0 while there are too few to tell. */
function headLength(bytes: Uint8Array, levelMax: number): number {
  if (bytes.length <= magic.length) return 0;
  if (!magic.every((byte, index) => bytes[index] === byte)) throw corrupt("it is none");
  const [version = 0, level] = bytes.subarray(magic.length);
  if (version === 0) throw corrupt("it has no format");
  if (version === format.plain) return magic.length + 1;
  if (version > format.withLevel) throw needsUpgrade(`format ${version}`);
  if (level === undefined) return 0;
  if (level > levelMax) throw needsUpgrade(`feature level ${level}, and this release understands ${levelMax}`);
  return magic.length + 2;
}

function encodeRecord(record: StateRecord): Uint8Array {
  const table = fromUtf8(record.table);
  const length = 1 + table.length + 2 + record.key.length + record.value.length;
  const bytes = new Uint8Array(4 + length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length);
  bytes[4] = table.length;
  bytes.set(table, 5);
  view.setUint16(5 + table.length, record.key.length);
  bytes.set(record.key, 7 + table.length);
  bytes.set(record.value, 7 + table.length + record.key.length);
  return bytes;
}

/** Copies key and value: the chunk they came in is not kept. */
function decodeRecord(bytes: Uint8Array): StateRecord {
  const tableLength = bytes[0] ?? 0;
  const keyAt = 1 + tableLength + 2;
  if (keyAt > bytes.length) throw corrupt("a record is cut");
  const keyLength = ((bytes[keyAt - 2] ?? 0) << 8) | (bytes[keyAt - 1] ?? 0);
  if (keyAt + keyLength > bytes.length) throw corrupt("a key is cut");
  return {
    table: toUtf8(bytes.subarray(1, 1 + tableLength)),
    key: bytes.slice(keyAt, keyAt + keyLength),
    value: bytes.slice(keyAt + keyLength),
  };
}

function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

function needsUpgrade(what: string): BlixardError {
  return new BlixardError("NEEDS_UPGRADE", `the snapshot has ${what}`, {
    hint: "Install the release of the other members on this machine, and start the node again with the data that it has.",
  });
}

function corrupt(why: string): BlixardError {
  return new BlixardError("STORAGE_CORRUPT", `the snapshot cannot be read: ${why}`);
}
