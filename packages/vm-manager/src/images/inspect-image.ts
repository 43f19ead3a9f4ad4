/**
 * Looks into the files of an image where it is used: before a driver gets it. What is imported is looked at with stricter
 * eyes, by `openDisk`.
 */
import type { ImageRecord } from "@blixard/protocol";
import { type ByteSource, FileSource, headOf, refuseImage } from "./byte-source.ts";
import { inspectIso } from "./inspect-iso.ts";
import { inspectLinux, inspectMultiboot } from "./inspect-kernel.ts";
import { inspectQcow2, looksLikeQcow2, readQcow2Header } from "./inspect-qcow2.ts";
import { inspectRawDisk } from "./raw-disk.ts";

export type StoredDiskFormat = "raw" | "qcow2";

export interface InspectOptions {
  /** A disk that a guest writes to. Its base, where it is an overlay, is named by who opens it and not by its header. */
  readonly isWritten?: boolean;
  readonly mayHaveBase?: boolean;
  /** It was made, or imported, in this format. A raw disk may hold anything: it is never looked at as something else. */
  readonly diskFormat?: StoredDiskFormat | undefined;
}

/** The explicit format of a disk, `raw` for kernels. @throws INVALID_ARGUMENT for an image that is refused. */
export async function inspectImage(
  path: string,
  format: ImageRecord["format"],
  options: InspectOptions = {},
): Promise<{ readonly diskFormat: StoredDiskFormat }> {
  await using file = await FileSource.open(path);
  switch (format) {
    case "multiboot":
      await inspectMultiboot(file);
      return { diskFormat: "raw" };
    case "linux":
      await inspectLinux(file);
      return { diskFormat: "raw" };
    case "disk":
      return { diskFormat: await inspectStoredDisk(file, options) };
    case "iso":
      await inspectIso(file);
      return { diskFormat: "raw" };
    default:
      return format satisfies never;
  }
}

/** How large the guest sees a disk that was inspected. */
export async function virtualBytesOf(path: string, format: StoredDiskFormat): Promise<number> {
  await using file = await FileSource.open(path);
  return format === "raw"
    ? file.sizeBytes
    : (await readQcow2Header(file, { mayHaveBase: true, isWritten: true })).virtualBytes;
}

async function inspectStoredDisk(file: ByteSource, options: InspectOptions): Promise<StoredDiskFormat> {
  const { diskFormat, isWritten = false, mayHaveBase = false } = options;
  if (diskFormat === "raw" && isWritten) return "raw";
  if (diskFormat !== "raw" && looksLikeQcow2(await headOf(file, 4))) {
    if (isWritten) await readQcow2Header(file, { mayHaveBase, isWritten });
    else await inspectQcow2(file);
    return "qcow2";
  }
  if (diskFormat === "qcow2") throw refuseImage("it is no qcow2");
  await inspectRawDisk(file, { declared: true });
  return "raw";
}
