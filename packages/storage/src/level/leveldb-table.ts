/**
 * Checks every block of a LevelDB table file. LevelDB writes a checksum for each and, as it is opened here, never
 * looks at it.
 *
 *     file:   data blocks | filter block, if any | meta index block | index block | footer (48)
 *     block:  contents | compression (1) | masked CRC-32C of both (4, LE)
 *     footer: handles of meta index and index, as varints | zeros | magic (8)
 */
import { maskedCrc32c } from "../records/crc32c.ts";
import { VarintReader } from "./varint-reader.ts";

const footerBytes = 48;
const trailerBytes = 5;
/** Sequence number (7) and type (1) behind each key. */
const internalKeyBytes = 8;
const magic = 0xdb4775248b80fb57n;

interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

interface IndexEntry {
  /** At or after the last key of the block, and before the next one. */
  readonly lastKey: Buffer;
  readonly handle: BlockHandle;
}

/** A version of a key: a value, or a deletion where it is undefined. */
export interface TableEntry {
  readonly key: Buffer;
  readonly sequence: number;
  readonly value: Buffer | undefined;
}

/** Keys from `from` to `to`, both included. */
export interface KeySpan {
  readonly from: Buffer;
  readonly to: Buffer;
}

export interface SalvagedTable {
  readonly entries: readonly TableEntry[];
  /** Where versions of keys may be missing. */
  readonly lost: readonly KeySpan[];
}

/** What can be read of a damaged table, block by block. `span` is what the manifest says that the table holds. */
export function salvageTable(bytes: Buffer, span: KeySpan): SalvagedTable {
  let blocks: readonly IndexEntry[];
  try {
    const reader = new VarintReader(bytes.subarray(Math.max(0, bytes.length - footerBytes)));
    readHandle(reader);
    const index = readHandle(reader);
    if (!isGood(bytes, index)) return { entries: [], lost: [span] };
    blocks = entriesIn(contentsOf(bytes, index)).map(({ key, value }) => ({
      lastKey: userKeyOf(key),
      handle: readHandle(new VarintReader(value)),
    }));
  } catch (error) {
    assertParseError(error);
    return { entries: [], lost: [span] };
  }
  const entries: TableEntry[] = [];
  const lost: KeySpan[] = [];
  let from = span.from;
  for (const { lastKey, handle } of blocks) {
    try {
      if (!isGood(bytes, handle)) throw new RangeError("the checksum does not match");
      const read = entriesIn(contentsOf(bytes, handle)).map(versionOf);
      for (const entry of read) entries.push(entry);
    } catch (error) {
      assertParseError(error);
      lost.push({ from, to: lastKey });
    }
    from = lastKey;
  }
  return { entries, lost };
}

/** Why the file is damaged, or undefined for a good one. */
export function tableDamage(bytes: Buffer): string | undefined {
  if (bytes.length < footerBytes) return "it is shorter than a footer";
  const footer = bytes.subarray(bytes.length - footerBytes);
  if (footer.readBigUInt64LE(40) !== magic) return "its footer is damaged";
  try {
    const reader = new VarintReader(footer);
    const metaIndex = readHandle(reader);
    const index = readHandle(reader);
    if (footer.subarray(reader.at, 40).some((byte) => byte !== 0)) return "its footer is damaged";
    if (!isGood(bytes, metaIndex) || !isGood(bytes, index)) return "an index block is damaged";
    if (index.offset !== endOf(metaIndex) || endOf(index) !== bytes.length - footerBytes)
      return "its footer is damaged";
    let end = 0;
    for (const { value } of entriesIn(contentsOf(bytes, index))) {
      const block = readHandle(new VarintReader(value));
      if (block.offset !== end || !isGood(bytes, block)) return `the block at ${end} is damaged`;
      end = endOf(block);
    }
    const filter = { offset: end, size: metaIndex.offset - end - trailerBytes };
    if (end !== metaIndex.offset && !isGood(bytes, filter)) return `the block at ${end} is damaged`;
    return undefined;
  } catch (error) {
    assertParseError(error);
    return "it cannot be parsed";
  }
}

function assertParseError(error: unknown): void {
  if ((error as { name?: unknown }).name !== "RangeError") throw error;
}

function readHandle(reader: VarintReader): BlockHandle {
  return { offset: reader.varint(), size: reader.varint() };
}

function endOf({ offset, size }: BlockHandle): number {
  return offset + size + trailerBytes;
}

function isGood(bytes: Buffer, { offset, size }: BlockHandle): boolean {
  const end = offset + size + 1;
  if (size < 0 || end + 4 > bytes.length) return false;
  return maskedCrc32c(bytes.subarray(offset, end)) === bytes.readUInt32LE(end);
}

function contentsOf(bytes: Buffer, { offset, size }: BlockHandle): Buffer {
  const compression = bytes.readUInt8(offset + size);
  if (compression !== 0) throw new RangeError("a block is compressed");
  return bytes.subarray(offset, offset + size);
}

/** What a block holds: entries of a key, of which the beginning is that of the one before, and a value; then restarts. */
function entriesIn(block: Buffer): { readonly key: Buffer; readonly value: Buffer }[] {
  const restarts = block.readUInt32LE(block.length - 4);
  const reader = new VarintReader(block.subarray(0, block.length - 4 * (restarts + 1)));
  const entries: { readonly key: Buffer; readonly value: Buffer }[] = [];
  let key: Buffer = Buffer.alloc(0);
  while (!reader.ended) {
    const sharedBytes = reader.varint();
    const ownBytes = reader.varint();
    const valueBytes = reader.varint();
    if (sharedBytes > key.length) throw new RangeError("a key shares more than there is");
    key = Buffer.concat([key.subarray(0, sharedBytes), reader.bytes(ownBytes)]);
    entries.push({ key, value: reader.bytes(valueBytes) });
  }
  return entries;
}

/** The key without the sequence number and type that LevelDB appends to it. */
export function userKeyOf(internalKey: Buffer): Buffer {
  return internalKey.subarray(0, internalKey.length - internalKeyBytes);
}

function versionOf({ key, value }: { readonly key: Buffer; readonly value: Buffer }): TableEntry {
  const tag = key.readBigUInt64LE(key.length - internalKeyBytes);
  const isValue = (tag & 0xffn) === 1n;
  return { key: userKeyOf(key), sequence: Number(tag >> 8n), value: isValue ? value : undefined };
}
