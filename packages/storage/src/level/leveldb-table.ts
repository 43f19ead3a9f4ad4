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
const magic = 0xdb4775248b80fb57n;

interface BlockHandle {
  readonly offset: number;
  readonly size: number;
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
    for (const block of handlesIn(bytes.subarray(index.offset, index.offset + index.size))) {
      if (block.offset !== end || !isGood(bytes, block)) return `the block at ${end} is damaged`;
      end = endOf(block);
    }
    const filter = { offset: end, size: metaIndex.offset - end - trailerBytes };
    if (end !== metaIndex.offset && !isGood(bytes, filter)) return `the block at ${end} is damaged`;
    return undefined;
  } catch (error) {
    if ((error as { name?: unknown }).name !== "RangeError") throw error;
    return "it cannot be parsed";
  }
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

/** The handles that an index block holds: entries of shared and own key bytes and a value, then restart points. */
function handlesIn(block: Buffer): BlockHandle[] {
  const restarts = block.readUInt32LE(block.length - 4);
  const reader = new VarintReader(block.subarray(0, block.length - 4 * (restarts + 1)));
  const handles: BlockHandle[] = [];
  while (!reader.ended) {
    reader.varint();
    const keyBytes = reader.varint();
    const valueBytes = reader.varint();
    reader.bytes(keyBytes);
    handles.push(readHandle(new VarintReader(reader.bytes(valueBytes))));
  }
  return handles;
}
