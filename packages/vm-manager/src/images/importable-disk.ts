/** A disk as it is imported: what is stored of it is raw or qcow2, whatever it came as. */
import { type ByteSource, headOf, piecesOf, refuseImage } from "./byte-source.ts";
import { inspectQcow2, looksLikeQcow2 } from "./inspect-qcow2.ts";
import { looksLikeTar, openOva } from "./ova.ts";
import { qcow2Bytes, qcow2Pieces } from "./qcow2-stream.ts";
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
  if (source.sizeBytes === 0) throw refuseImage("it is empty");
  const head = await headOf(source, 512);
  const shown = shownFormat(head);
  if (declared !== undefined && declared !== "raw" && declared !== shown) throw refuseImage(`it is no ${declared}`);
  const from = declared ?? shown;
  switch (from) {
    case "raw":
      await inspectRawDisk(source, { declared: declared === "raw" });
      return asItIs(source, "raw", source.sizeBytes);
    case "qcow2":
      return asItIs(source, "qcow2", (await inspectQcow2(source)).virtualBytes);
    case "vmdk":
      return await converted(source, "vmdk");
    case "ova": {
      const disk = await openOva(source, signal);
      if (!looksLikeVmdk(await headOf(disk, 512))) throw refuseImage("the disk in it is no sparse vmdk");
      return await converted(disk, "ova");
    }
    default:
      return from satisfies never;
  }
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

async function converted(source: ByteSource, from: "vmdk" | "ova"): Promise<ImportableDisk> {
  const { virtualBytes, grainBytes, grains, readGrain } = await openVmdk(source);
  const read = async (place: number) => {
    const grain = grains[place];
    return grain === undefined ? new Uint8Array(grainBytes) : await readGrain(grain);
  };
  const disk = { virtualBytes, clusterBytes: grainBytes, clusters: grains.map(({ index }) => index), read };
  const sizeBytes = qcow2Bytes(disk);
  return { from, format: "qcow2", sizeBytes, virtualBytes, pieces: (offset) => qcow2Pieces(disk, offset) };
}
