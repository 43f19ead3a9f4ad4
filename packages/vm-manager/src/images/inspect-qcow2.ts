/**
 * Looks into a qcow2 file (docs/interop/qcow2.txt of QEMU). What it could pull in from the host, a backing or a data file,
 * is refused: it would show the guest a file of the host, or overwrite one. Of an image that is imported the tables are
 * read too: each part of the disk lies inside of the file, and in a place of its own.
 */
import { qcow2Magic } from "../disks/qcow2-overlay.ts";
import { type ByteSource, headOf, refuseImage } from "./byte-source.ts";
import { assertExpansion } from "./expansion.ts";
import { imageLimits } from "./image-limits.ts";

export interface Qcow2Header {
  readonly version: number;
  readonly virtualBytes: number;
  readonly clusterBytes: number;
  readonly l1Offset: number;
  readonly l1Entries: number;
  /** Entries of two words, with a bit for each part of a cluster. */
  readonly hasExtendedL2: boolean;
}

export interface Qcow2Options {
  /** An overlay, whose base is named by who opens it and not by its header. */
  readonly mayHaveBase?: boolean;
  /** A disk that a guest writes to: QEMU may have left it in the middle of a change. */
  readonly isWritten?: boolean;
}

/** What cannot be read without knowing it. */
const incompatible = {
  dirty: 1n << 0n,
  corrupt: 1n << 1n,
  dataFile: 1n << 2n,
  compression: 1n << 3n,
  extendedL2: 1n << 4n,
};
const extensions = { dataFileName: 0x4441_5441, encryption: 0x0537_be77 };
const headerBytesOf = { 2: 72, 3: 104 } as const;
const offsetMask = 0x00ff_ffff_ffff_fe00n;
const compressedBit = 1n << 62n;

export function looksLikeQcow2(head: Uint8Array): boolean {
  return head.length >= 4 && new DataView(head.buffer, head.byteOffset).getUint32(0) === qcow2Magic;
}

/** @throws INVALID_ARGUMENT */
export async function readQcow2Header(source: ByteSource, options: Qcow2Options = {}): Promise<Qcow2Header> {
  const head = await headOf(source, 2 ** imageLimits.clusterBitsMin);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (head.length < headerBytesOf[3] || !looksLikeQcow2(head)) throw refuseImage("its header is cut off");
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) throw refuseImage(`qcow2 version ${version} is not known`);
  const { mayHaveBase = false, isWritten = false } = options;
  if (!mayHaveBase && (view.getBigUint64(8) !== 0n || view.getUint32(16) !== 0))
    throw refuseImage("it names a backing file");
  if (view.getUint32(32) !== 0) throw refuseImage("it is encrypted; use LUKS inside of the guest");
  if (!isWritten && view.getUint32(60) !== 0)
    throw refuseImage("it has internal snapshots; convert it to a file without");
  const features = version === 3 ? view.getBigUint64(72) : 0n;
  assertFeatures(features, isWritten);
  const clusterBits = view.getUint32(20);
  if (clusterBits < imageLimits.clusterBitsMin || clusterBits > imageLimits.clusterBitsMax) {
    throw refuseImage(`its clusters have 2^${clusterBits} bytes`);
  }
  assertExtensions(view, version === 3 ? view.getUint32(100) : headerBytesOf[2]);
  const virtualBytes = Number(view.getBigUint64(24));
  if (virtualBytes === 0 || virtualBytes > imageLimits.virtualBytesMax) {
    throw refuseImage(`its disk would have ${virtualBytes} bytes`);
  }
  return {
    ...{ version, virtualBytes, clusterBytes: 2 ** clusterBits },
    l1Entries: view.getUint32(36),
    l1Offset: Number(view.getBigUint64(40)),
    hasExtendedL2: (features & incompatible.extendedL2) !== 0n,
  };
}

function assertFeatures(features: bigint, isWritten: boolean): void {
  if ((features & incompatible.dataFile) !== 0n) throw refuseImage("it names a data file");
  if (!isWritten && (features & incompatible.dirty) !== 0n)
    throw refuseImage("it was not closed well; repair it first");
  if (!isWritten && (features & incompatible.corrupt) !== 0n) throw refuseImage("it says that it is damaged");
  const known = Object.values(incompatible).reduce((sum, bit) => sum | bit, 0n);
  if ((features & ~known) !== 0n) throw refuseImage("it needs features that are not known");
}

function assertExtensions(view: DataView, from: number): void {
  if (from < headerBytesOf[2] || from % 8 !== 0) throw refuseImage("its header has an impossible length");
  for (let at = from, count = 0; at + 8 <= view.byteLength; count++) {
    const [type, length] = [view.getUint32(at), view.getUint32(at + 4)];
    if (type === 0) return;
    if (type === extensions.dataFileName) throw refuseImage("it names a data file");
    if (type === extensions.encryption) throw refuseImage("it is encrypted; use LUKS inside of the guest");
    if (count >= imageLimits.headerExtensionsMax) break;
    at += 8 + Math.ceil(length / 8) * 8;
  }
  throw refuseImage("its header has no end");
}

/** Reads the tables, and none of the data. @throws INVALID_ARGUMENT */
export async function inspectQcow2(source: ByteSource): Promise<Qcow2Header> {
  const header = await readQcow2Header(source);
  const { virtualBytes, clusterBytes, l1Offset, l1Entries, hasExtendedL2 } = header;
  const entryBytes = hasExtendedL2 ? 16 : 8;
  const perTable = clusterBytes / entryBytes;
  const needed = Math.ceil(virtualBytes / clusterBytes / perTable);
  if (l1Entries < needed || l1Entries * 8 > imageLimits.tableBytesMax)
    throw refuseImage("its first table has a wrong size");
  assertInside(source, l1Offset, l1Entries * 8, clusterBytes);
  const l1 = viewOf(await source.read(l1Offset, l1Entries * 8));
  const used = { plainBytes: 0, compressedBytes: 0 };
  const tables = new Set<number>();
  for (let index = 0; index < l1Entries; index++) {
    const offset = Number(l1.getBigUint64(index * 8) & offsetMask);
    if (offset === 0) continue;
    assertInside(source, offset, clusterBytes, clusterBytes);
    // A table that is named again and again would be read without an end.
    if (tables.has(offset)) throw refuseImage("parts of its disk lie in the same place");
    tables.add(offset);
    used.plainBytes += clusterBytes;
    countClusters(source, header, viewOf(await source.read(offset, clusterBytes)), used);
  }
  assertExpansion(source.sizeBytes, used.compressedBytes);
  return header;
}

interface Used {
  plainBytes: number;
  compressedBytes: number;
}

function countClusters(
  source: ByteSource,
  { clusterBytes, hasExtendedL2 }: Qcow2Header,
  l2: DataView,
  used: Used,
): void {
  const entryBytes = hasExtendedL2 ? 16 : 8;
  for (let at = 0; at < l2.byteLength; at += entryBytes) {
    const entry = l2.getBigUint64(at);
    if (entry === 0n) continue;
    if ((entry & compressedBit) !== 0n) {
      const offsetBits = BigInt(62 - (Math.log2(clusterBytes) - 8));
      const offset = Number(entry & ((1n << offsetBits) - 1n));
      if (offset >= source.sizeBytes) throw refuseImage("a part of its disk lies behind its end; it may be cut off");
      used.compressedBytes += clusterBytes;
      continue;
    }
    const offset = Number(entry & offsetMask);
    // Zeros have no place of their own.
    if (offset === 0) continue;
    assertInside(source, offset, clusterBytes, clusterBytes);
    used.plainBytes += clusterBytes;
  }
  assertOwnPlaces(source, used.plainBytes);
}

function assertOwnPlaces(source: ByteSource, plainBytes: number): void {
  if (plainBytes > source.sizeBytes) throw refuseImage("parts of its disk lie in the same place");
}

function assertInside(source: ByteSource, offset: number, length: number, alignment: number): void {
  if (offset % alignment !== 0 || offset === 0) throw refuseImage("a part of it lies in an impossible place");
  if (offset + length > source.sizeBytes)
    throw refuseImage("a part of its disk lies behind its end; it may be cut off");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
