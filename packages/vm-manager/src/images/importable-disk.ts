/** A disk as it is imported: what is stored of it is raw or qcow2, whatever it came as. */
import { type ByteSource, headOf, piecesOf, refuseImage } from "./byte-source.ts";
import { inspectQcow2, looksLikeQcow2 } from "./inspect-qcow2.ts";
import { looksLikeTar, openOva } from "./ova.ts";
import { openQcow2 } from "./qcow2-parts.ts";
import { type DiskParts, qcow2Bytes, qcow2Pieces } from "./qcow2-stream.ts";
import { inspectRawDisk } from "./raw-disk.ts";
import { looksLikeVmdk, openVmdk } from "./vmdk.ts";

export const diskSourceFormats = ["raw", "qcow2", "vmdk", "ova"] as const;
export type DiskSourceFormat = (typeof diskSourceFormats)[number];

export interface ImportableDisk {
  readonly from: DiskSourceFormat;
  readonly format: "raw" | "qcow2";
  /** Of what is stored. */
  readonly sizeBytes: number;
  readonly virtualBytes: number;
  /** What is stored, from `offset` on; the same bytes each time, as long as the source does not change. */
  pieces(offset: number): AsyncIterable<Uint8Array>;
}

/** Inspects it. `declared`: what it is said to be; default what it shows itself. @throws INVALID_ARGUMENT */
export async function openDisk(
  source: ByteSource,
  declared?: DiskSourceFormat,
  signal?: AbortSignal,
): Promise<ImportableDisk> {
  const from = await formatOf(source, declared);
  switch (from) {
    case "raw":
      await inspectRawDisk(source, { declared: declared === "raw" });
      return asItIs(source, "raw", source.sizeBytes);
    case "qcow2":
      return asItIs(source, "qcow2", (await inspectQcow2(source)).virtualBytes);
    case "vmdk":
    case "ova":
      return converted(await vmdkParts(source, from, signal), from);
    default:
      return from satisfies never;
  }
}

/** The parts of it that may have content. Inspects it, as {@link openDisk} does. @throws INVALID_ARGUMENT */
export async function openParts(
  source: ByteSource,
  declared?: DiskSourceFormat,
  signal?: AbortSignal,
): Promise<DiskParts> {
  const from = await formatOf(source, declared);
  if (from === "vmdk" || from === "ova") return await vmdkParts(source, from, signal);
  if (from === "qcow2") return await openQcow2(source);
  await inspectRawDisk(source, { declared: declared === "raw" });
  return rawParts(source);
}

/** @throws INVALID_ARGUMENT */
async function formatOf(source: ByteSource, declared: DiskSourceFormat | undefined): Promise<DiskSourceFormat> {
  if (source.sizeBytes === 0) throw refuseImage("it is empty");
  const shown = shownFormat(await headOf(source, 512));
  if (declared !== undefined && declared !== "raw" && declared !== shown) throw refuseImage(`it is no ${declared}`);
  return declared ?? shown;
}

function shownFormat(head: Uint8Array): DiskSourceFormat {
  if (looksLikeQcow2(head)) return "qcow2";
  if (looksLikeVmdk(head)) return "vmdk";
  return looksLikeTar(head) ? "ova" : "raw";
}

function asItIs(source: ByteSource, format: "raw" | "qcow2", virtualBytes: number): ImportableDisk {
  const { sizeBytes } = source;
  return { from: format, format, sizeBytes, virtualBytes, pieces: (offset) => piecesOf(source, offset) };
}

async function vmdkParts(source: ByteSource, from: "vmdk" | "ova", signal?: AbortSignal): Promise<DiskParts> {
  const file = from === "vmdk" ? source : await openOva(source, signal);
  if (from === "ova" && !looksLikeVmdk(await headOf(file, 512))) throw refuseImage("the disk in it is no sparse vmdk");
  const { virtualBytes, grainBytes, grains, readGrain } = await openVmdk(file);
  const read = async (place: number) => {
    const grain = grains[place];
    return grain === undefined ? new Uint8Array(grainBytes) : await readGrain(grain);
  };
  return { virtualBytes, clusterBytes: grainBytes, clusters: grains.map(({ index }) => index), read };
}

function converted(disk: DiskParts, from: "vmdk" | "ova"): ImportableDisk {
  const { virtualBytes } = disk;
  const sizeBytes = qcow2Bytes(disk);
  return { from, format: "qcow2", sizeBytes, virtualBytes, pieces: (offset) => qcow2Pieces(disk, offset) };
}

/** All of a raw disk, in parts of which some may hold nothing. */
function rawParts(source: ByteSource): DiskParts {
  const clusterBytes = 1024 * 1024;
  const { sizeBytes } = source;
  const clusters = Array.from({ length: Math.ceil(sizeBytes / clusterBytes) }, (_, index) => index);
  const read = async (place: number) => {
    const at = place * clusterBytes;
    return await source.read(at, Math.min(clusterBytes, sizeBytes - at));
  };
  return { virtualBytes: sizeBytes, clusterBytes, clusters, read };
}
