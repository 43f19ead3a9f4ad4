/** Reads the parts of a qcow2 file that have content (docs/interop/qcow2.txt of QEMU), of one that was inspected before. */
import { constants, inflateRawSync } from "node:zlib";
import { type ByteSource, headOf, refuseImage } from "./byte-source.ts";
import { inspectQcow2 } from "./inspect-qcow2.ts";
import type { DiskParts } from "./qcow2-stream.ts";

const offsetMask = 0x00ff_ffff_ffff_fe00n;
const compressedBit = 1n << 62n;
const zeroBit = 1n;
const compressionFeature = 1n << 3n;
const sectorBytes = 512;

interface Place {
  readonly offset: number;
  /** Of what is packed; 0: it is not. */
  readonly packedBytes: number;
}

/** @throws INVALID_ARGUMENT */
export async function openQcow2(source: ByteSource): Promise<DiskParts> {
  const { version, virtualBytes, clusterBytes, l1Offset, l1Entries, hasExtendedL2 } = await inspectQcow2(source);
  if (hasExtendedL2) throw unread("it has subclusters");
  if (version === 3 && (await isPackedOtherwise(source))) throw unread("it is packed with zstd");
  const count = Math.ceil(virtualBytes / clusterBytes);
  const perTable = clusterBytes / 8;
  const l1 = viewOf(await source.read(l1Offset, l1Entries * 8));
  const clusters: number[] = [];
  const places: Place[] = [];
  for (let table = 0; table < l1Entries && table * perTable < count; table++) {
    const tableAt = Number(l1.getBigUint64(table * 8) & offsetMask);
    if (tableAt === 0) continue;
    const l2 = viewOf(await source.read(tableAt, clusterBytes));
    for (let entry = 0; entry < perTable; entry++) {
      const cluster = table * perTable + entry;
      const place = placeOf(l2.getBigUint64(entry * 8), source, clusterBytes);
      if (place === undefined || cluster >= count) continue;
      clusters.push(cluster);
      places.push(place);
    }
  }
  const read = async (at: number) => {
    const place = places[at];
    return place === undefined ? new Uint8Array(clusterBytes) : await readPlace(source, place, clusterBytes);
  };
  return { virtualBytes, clusterBytes, clusters, read };
}

function unread(why: string): Error {
  return refuseImage(`${why}, which is not read here; convert it: qemu-img convert -O qcow2 OLD NEW`);
}

async function isPackedOtherwise(source: ByteSource): Promise<boolean> {
  const head = viewOf(await headOf(source, 112));
  return (head.getBigUint64(72) & compressionFeature) !== 0n && head.getUint8(104) !== 0;
}

/** Undefined for zeros. */
function placeOf(entry: bigint, { sizeBytes }: ByteSource, clusterBytes: number): Place | undefined {
  if ((entry & compressedBit) !== 0n) {
    const offsetBits = BigInt(62 - (Math.log2(clusterBytes) - 8));
    const offset = Number(entry & ((1n << offsetBits) - 1n));
    const sectors = Number((entry & (compressedBit - 1n)) >> offsetBits) + 1;
    const packedBytes = Math.min(sectors * sectorBytes - (offset % sectorBytes), sizeBytes - offset);
    return { offset, packedBytes };
  }
  const offset = Number(entry & offsetMask);
  return offset === 0 || (entry & zeroBit) !== 0n ? undefined : { offset, packedBytes: 0 };
}

async function readPlace(source: ByteSource, { offset, packedBytes }: Place, clusterBytes: number) {
  if (packedBytes === 0) return await source.read(offset, clusterBytes);
  const packed = await source.read(offset, packedBytes);
  try {
    // What follows in the last sector belongs to another part.
    const bytes = inflateRawSync(packed, { maxOutputLength: clusterBytes, finishFlush: constants.Z_SYNC_FLUSH });
    if (bytes.length === clusterBytes) return new Uint8Array(bytes);
  } catch (error) {
    throw refuseImage("a part of its disk cannot be unpacked", error);
  }
  throw refuseImage("a part of its disk is damaged");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
