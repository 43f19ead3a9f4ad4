/** Looks into blobs before a node takes them, and before an image names them. */
import { notApplied } from "@blixard/common";
import type { ImageBlob, ImageRecord } from "@blixard/protocol";
import { type ByteSource, FileSource, headOf, refuseImage } from "./byte-source.ts";
import { inspectIso } from "./inspect-iso.ts";
import { hasMultibootHeader, inspectInitrd, inspectLinux, inspectMultiboot, isLinux } from "./inspect-kernel.ts";
import { inspectQcow2, looksLikeQcow2 } from "./inspect-qcow2.ts";
import { diskSignatureOf, foreignFormatOf, initrdFormatOf, inspectRawDisk } from "./raw-disk.ts";

export interface BlobWords {
  /** A raw disk was said, although nothing shows that it is one. */
  readonly raw: boolean;
}

/** Before more than this is stored. @throws INVALID_ARGUMENT for what no image consists of */
export function inspectHead(head: Uint8Array, { raw }: BlobWords): void {
  if (looksLikeQcow2(head) && !raw) return;
  const foreign = foreignFormatOf(head);
  if (foreign !== undefined) throw refuseImage(`a node stores raw and qcow2 disks, and no ${foreign}`);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const known = diskSignatureOf(head) ?? initrdFormatOf(head);
  if (raw || known !== undefined || isLinux(view) || hasMultibootHeader(view)) return;
  throw refuseImage("it is neither a kernel nor an initial RAM disk, and shows no sign of a disk");
}

/** All of a blob, before it is taken. @throws INVALID_ARGUMENT */
export async function inspectReceived(source: ByteSource, { raw }: BlobWords): Promise<void> {
  if (!raw && looksLikeQcow2(await headOf(source, 4))) await inspectQcow2(source);
}

/** Before an image names them. Gives them with the format of the disk. @throws INVALID_ARGUMENT */
export async function inspectBlobs(
  format: ImageRecord["format"],
  blobs: readonly ImageBlob[],
  paths: ReadonlyMap<string, string>,
): Promise<ImageBlob[]> {
  if (blobs.length > 1 && blobs.some(({ role }) => role === "iso")) {
    throw refuseImage("an ISO image has nothing beside it");
  }
  const inspected: ImageBlob[] = [];
  for (const blob of blobs) {
    const path = paths.get(blob.role);
    if (path === undefined) throw notApplied("INVALID_ARGUMENT", `blobs: there is no ${blob.role}`);
    await using source = await FileSource.open(path);
    inspected.push(await inspectBlob(format, blob, source));
  }
  return inspected;
}

async function inspectBlob(format: ImageRecord["format"], blob: ImageBlob, source: ByteSource): Promise<ImageBlob> {
  switch (blob.role) {
    case "kernel":
      if (format === "disk" || format === "iso") throw refuseImage(`an image of the format ${format} has no kernel`);
      await (format === "linux" ? inspectLinux(source) : inspectMultiboot(source));
      return blob;
    case "initrd":
      if (format !== "linux") throw refuseImage("only a Linux kernel takes an initial RAM disk");
      await inspectInitrd(source);
      return blob;
    case "iso":
      if (format !== "iso") throw refuseImage(`an image of the format ${format} has no ISO image`);
      await inspectIso(source);
      return blob;
    case "disk": {
      if (format === "iso") throw refuseImage("an image of the format iso has no disk");
      const shown = looksLikeQcow2(await headOf(source, 4)) ? "qcow2" : "raw";
      if ((blob.format ?? shown) !== shown) throw refuseImage(`its disk is no ${blob.format}`);
      if (shown === "qcow2") await inspectQcow2(source);
      else await inspectRawDisk(source, { declared: blob.format === "raw" });
      return { ...blob, format: shown };
    }
    default:
      return blob.role satisfies never;
  }
}
