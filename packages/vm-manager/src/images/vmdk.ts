/**
 * Reads sparse VMDK files (VMware's "Virtual Disk Format 5.0"): monolithicSparse, and streamOptimized, which an OVA has in it.
 * An own reader: nothing that comes from outside is given to a program that opens what its header names.
 *
 *     header, one sector: where the descriptor and the directory are, how large a grain is
 *     descriptor: text, which must name no parent and no other extent
 *     directory: for each table its sector; table: for each of 512 grains its sector
 *     grain: its bytes; in streamOptimized a marker (sector of the disk, length) and a zlib stream
 */
import { inflateSync } from "node:zlib";
import { type ByteSource, headOf, refuseImage } from "./byte-source.ts";
import { assertExpansion } from "./expansion.ts";
import { imageLimits } from "./image-limits.ts";

const sectorBytes = 512;
const grainsPerTable = 512;
const directoryAtEnd = 0xffff_ffff_ffff_ffffn;
const footerFromEnd = 1_024;
const flags = { zeroGrains: 1 << 2, compressed: 1 << 16 } as const;
const newlineTest = 0x0a0d_200a;
const markerBytes = 12;
const sparseTypes = ["monolithicSparse", "streamOptimized"];

export interface Grain {
  /** Its number on the disk. */
  readonly index: number;
  readonly sector: number;
}

export interface Vmdk {
  readonly virtualBytes: number;
  readonly grainBytes: number;
  /** Those that have content, in the order of the disk. */
  readonly grains: readonly Grain[];
  readGrain(grain: Grain): Promise<Uint8Array>;
}

interface Header {
  readonly flags: number;
  readonly capacitySectors: bigint;
  readonly grainSectors: bigint;
  readonly descriptorSector: bigint;
  readonly descriptorSectors: bigint;
  readonly grainsPerTable: number;
  readonly directorySector: bigint;
  readonly compression: number;
}

export function looksLikeVmdk(head: Uint8Array): boolean {
  return head.length >= 4 && head[0] === 0x4b && head[1] === 0x44 && head[2] === 0x4d && head[3] === 0x56;
}

/** Reads header, descriptor and tables, and checks each place that they name. @throws INVALID_ARGUMENT */
export async function openVmdk(source: ByteSource): Promise<Vmdk> {
  const first = readHeader(await headOf(source, sectorBytes));
  const { capacitySectors, grainSectors } = first;
  const virtualBytes = Number(capacitySectors) * sectorBytes;
  const grainBytes = Number(grainSectors) * sectorBytes;
  if (virtualBytes === 0 || virtualBytes > imageLimits.virtualBytesMax) {
    throw refuseImage(`its disk would have ${virtualBytes} bytes`);
  }
  const grainBits = Math.log2(grainBytes);
  if (
    grainBits < imageLimits.clusterBitsMin ||
    grainBits > imageLimits.clusterBitsMax ||
    !Number.isInteger(grainBits)
  ) {
    throw refuseImage(`its grains have ${grainBytes} bytes`);
  }
  if (first.grainsPerTable !== grainsPerTable) throw refuseImage("its tables have an unusual size");
  await assertDescriptor(source, first);
  const header = first.directorySector === directoryAtEnd ? await readFooter(source) : first;
  const compressed = (header.flags & flags.compressed) !== 0;
  if (compressed && header.compression !== 1) throw refuseImage("its compression is not known");
  const grains = await readTables(source, header, Math.ceil(virtualBytes / grainBytes));
  const usedBytes = grains.length * grainBytes;
  if (compressed) assertExpansion(source.sizeBytes, usedBytes);
  else if (usedBytes > source.sizeBytes) throw refuseImage("parts of its disk lie in the same place");
  const readGrain = async (grain: Grain) =>
    compressed ? await unpack(source, grain, grainBytes) : await source.read(grain.sector * sectorBytes, grainBytes);
  return { virtualBytes, grainBytes, grains, readGrain };
}

function readHeader(bytes: Uint8Array): Header {
  if (bytes.length < sectorBytes) throw refuseImage("its header is cut off");
  if (!looksLikeVmdk(bytes)) throw refuseImage("it is no sparse vmdk");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint32(4, true);
  if (version < 1 || version > 3) throw refuseImage(`vmdk version ${version} is not known`);
  // A transfer as text would have changed these.
  if (view.getUint32(73, true) !== newlineTest) throw refuseImage("its header is damaged");
  if (view.getUint8(72) !== 0) throw refuseImage("it was not closed well");
  return {
    flags: view.getUint32(8, true),
    capacitySectors: view.getBigUint64(12, true),
    grainSectors: view.getBigUint64(20, true),
    descriptorSector: view.getBigUint64(28, true),
    descriptorSectors: view.getBigUint64(36, true),
    grainsPerTable: view.getUint32(44, true),
    directorySector: view.getBigUint64(56, true),
    compression: view.getUint16(77, true),
  };
}

async function readFooter(source: ByteSource): Promise<Header> {
  if (source.sizeBytes < 2 * footerFromEnd) throw refuseImage("its end is cut off");
  const footer = await source.read(source.sizeBytes - footerFromEnd, sectorBytes);
  if (!looksLikeVmdk(footer)) throw refuseImage("its end is cut off");
  const header = readHeader(footer);
  if (header.directorySector === directoryAtEnd) throw refuseImage("its end is damaged");
  return header;
}

/** It may name nothing but the file that it stands in. */
async function assertDescriptor(source: ByteSource, { descriptorSector, descriptorSectors }: Header): Promise<void> {
  const length = Number(descriptorSectors) * sectorBytes;
  if (length === 0 || length > imageLimits.descriptorBytesMax) throw refuseImage("it has no descriptor of its own");
  const bytes = await source.read(placeOf(source, Number(descriptorSector), length), length);
  const text = new TextDecoder("latin1").decode(bytes).replace(/\0+$/, "");
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const value = (name: string) => new RegExp(`^${name}\\s*=\\s*"?([^"]*)"?$`, "im").exec(lines.join("\n"))?.[1]?.trim();
  if (!sparseTypes.includes(value("createType") ?? "")) {
    throw refuseImage(
      `a vmdk of the type ${value("createType") ?? "unknown"} is not taken; convert it to streamOptimized`,
    );
  }
  const parent = value("parentCID")?.toLowerCase() ?? "ffffffff";
  if (parent !== "ffffffff" || value("parentFileNameHint") !== undefined) throw refuseImage("it names a parent");
  const extents = lines.filter((line) => /^(RW|RDONLY|NOACCESS)\s/i.test(line));
  if (extents.length !== 1 || !/^RW\s+\d+\s+SPARSE\s+"[^"/\\]+"$/i.test(extents[0] ?? "")) {
    throw refuseImage("it consists of other files too");
  }
}

async function readTables(source: ByteSource, header: Header, grainCount: number): Promise<Grain[]> {
  const tableCount = Math.ceil(grainCount / grainsPerTable);
  const directoryBytes = tableCount * 4;
  if (directoryBytes > imageLimits.tableBytesMax) throw refuseImage("its directory has a wrong size");
  const directoryAt = placeOf(source, Number(header.directorySector), directoryBytes);
  const directory = viewOf(await source.read(directoryAt, directoryBytes));
  const seen = new Set<number>();
  const grains: Grain[] = [];
  for (let table = 0; table < tableCount; table++) {
    const sector = directory.getUint32(table * 4, true);
    if (sector === 0) continue;
    if (seen.has(sector)) throw refuseImage("parts of its disk lie in the same place");
    seen.add(sector);
    const entries = viewOf(await source.read(placeOf(source, sector, grainsPerTable * 4), grainsPerTable * 4));
    for (let entry = 0; entry < grainsPerTable; entry++) {
      const grain = { index: table * grainsPerTable + entry, sector: entries.getUint32(entry * 4, true) };
      if (grain.sector === 0 || (grain.sector === 1 && (header.flags & flags.zeroGrains) !== 0)) continue;
      if (grain.index >= grainCount) throw refuseImage("its tables name more than its disk has");
      placeOf(source, grain.sector, 1);
      grains.push(grain);
    }
  }
  return grains;
}

async function unpack(source: ByteSource, { index, sector }: Grain, grainBytes: number): Promise<Uint8Array> {
  const at = placeOf(source, sector, markerBytes);
  const marker = viewOf(await source.read(at, markerBytes));
  const length = marker.getUint32(8, true);
  const isOwn = marker.getBigUint64(0, true) === BigInt(index) * BigInt(grainBytes / sectorBytes);
  if (!isOwn || length === 0 || length > 2 * grainBytes) throw refuseImage("a part of its disk is damaged");
  placeOf(source, sector, markerBytes + length);
  const packed = await source.read(at + markerBytes, length);
  const bytes = new Uint8Array(grainBytes);
  try {
    bytes.set(inflateSync(packed, { maxOutputLength: grainBytes }));
  } catch (error) {
    throw refuseImage("a part of its disk cannot be unpacked", error);
  }
  return bytes;
}

function placeOf(source: ByteSource, sector: number, length: number): number {
  const at = sector * sectorBytes;
  if (sector > 0 && at + length <= source.sizeBytes) return at;
  throw refuseImage("a part of its disk lies behind its end; it may be cut off");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
