/**
 * LevelDB's log format, which its write-ahead logs and manifests share. LevelDB skips what it cannot read; here the
 * difference is made between the end of a write that a power cut interrupted, which nobody was promised, and damage.
 *
 *     file:   blocks of 32 KiB; a record never starts in the last 6 bytes of a block
 *     record: masked CRC-32C of type and data (4, LE) | length (2, LE) | type (1) | data
 *     type:   1 the whole of a write, 2 its first part, 3 a middle part, 4 its last part
 */
import { maskedCrc32c } from "../records/crc32c.ts";

const blockBytes = 32 * 1024;
const headerBytes = 7;
const sectorBytes = 512;
const full = 1;
const first = 2;
const last = 4;

export interface LevelLog {
  /** The writes that are whole, in order. */
  readonly writes: readonly Buffer[];
  /** Where damage begins that no interrupted write explains; empty in a good file. */
  readonly damage: readonly LogDamage[];
}

export interface LogDamage {
  /** Offset in the file. */
  readonly at: number;
  /** How many of the whole writes come before it. */
  readonly writesBefore: number;
}

/** Reads a log of which every write was synced before the next one began. */
export function readLevelLog(bytes: Buffer): LevelLog {
  const writes: Buffer[] = [];
  const damage: LogDamage[] = [];
  let parts: Buffer[] | undefined;
  /** Behind damage: parts of a write whose beginning is lost are passed over. */
  let resuming = false;
  const damaged = (at: number) => {
    damage.push({ at, writesBefore: writes.length });
    parts = undefined;
    resuming = true;
  };
  let at = 0;
  while (at < bytes.length) {
    const room = blockBytes - (at % blockBytes);
    if (room < headerBytes) {
      at += room;
      continue;
    }
    const record = recordAt(bytes, at);
    if (record === undefined) {
      if (isInterrupted(bytes, at)) break;
      damaged(at);
      at = nextRecordAfter(bytes, at);
      continue;
    }
    const begins = record.type === full || record.type === first;
    if (begins === (parts !== undefined) && !resuming) damaged(at);
    if (begins) parts = [];
    if (parts !== undefined) {
      resuming = false;
      parts.push(record.data);
      if (record.type === full || record.type === last) {
        writes.push(Buffer.concat(parts));
        parts = undefined;
      }
    }
    at += headerBytes + record.data.length;
  }
  return { writes, damage };
}

/**
 * Where to go on behind a damaged record: where its length points to, when a good record begins there, and otherwise
 * at the next block. Looking at every byte would find records that somebody stored inside a value.
 */
function nextRecordAfter(bytes: Buffer, at: number): number {
  const nextBlock = at - (at % blockBytes) + blockBytes;
  if (at + headerBytes > bytes.length) return nextBlock;
  const length = bytes.readUInt16LE(at + 4);
  const next = at + headerBytes + length;
  if (length > roomFor(at)) return nextBlock;
  if (blockBytes - (next % blockBytes) < headerBytes) return nextBlock;
  return recordAt(bytes, next) === undefined ? nextBlock : next;
}

/** The record at `at` when it is whole and its checksum is right. */
function recordAt(bytes: Buffer, at: number): { readonly type: number; readonly data: Buffer } | undefined {
  if (at + headerBytes > bytes.length) return undefined;
  const length = bytes.readUInt16LE(at + 4);
  const type = bytes.readUInt8(at + 6);
  const end = at + headerBytes + length;
  if (type < full || type > last || end > bytes.length || length > roomFor(at)) return undefined;
  if (maskedCrc32c(bytes.subarray(at + 6, end)) !== bytes.readUInt32LE(at)) return undefined;
  return { type, data: bytes.subarray(at + headerBytes, end) };
}

function roomFor(at: number): number {
  return blockBytes - (at % blockBytes) - headerBytes;
}

/**
 * True when the bad record at `at` can be the rest of the last write: nothing begins after it, and it is cut off or a
 * sector of it was never written. A record that is there in full and wrong is damage, also where its length is wrong.
 */
function isInterrupted(bytes: Buffer, at: number): boolean {
  for (let later = at + 1; later + headerBytes <= bytes.length; later++) {
    const type = bytes[later + 6];
    if ((type === full || type === first) && recordAt(bytes, later) !== undefined) return false;
  }
  const rest = bytes.length - at - headerBytes;
  if (rest < 0) return true;
  if (rest <= roomFor(at) && maskedCrc32c(bytes.subarray(at + 6)) === bytes.readUInt32LE(at)) return false;
  const length = bytes.readUInt16LE(at + 4);
  if (length <= roomFor(at) && length > rest) return true;
  return hasEmptySector(bytes, at);
}

function hasEmptySector(bytes: Buffer, from: number): boolean {
  const rest = bytes.subarray(from);
  if (rest.every((byte) => byte === 0)) return true;
  for (let at = Math.ceil(from / sectorBytes) * sectorBytes; at + sectorBytes <= bytes.length; at += sectorBytes) {
    if (bytes.subarray(at, at + sectorBytes).every((byte) => byte === 0)) return true;
  }
  return false;
}
