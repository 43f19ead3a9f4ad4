/**
 * Looks into the header of an image before a driver gets it. What a format could pull in from the host (a qcow2
 * backing file or data file) is refused: it would show the guest a file of the host, or overwrite one.
 */
import { open, stat } from "node:fs/promises";
import { BlixardError } from "@blixard/common";
import type { ImageRecord } from "@blixard/protocol";
import { qcow2Magic } from "../disks/qcow2-overlay.ts";

const headerBytes = 8192;
const qcow2SizeOffset = 24;
/** Incompatible feature bit 2 of docs/interop/qcow2.txt: the data is in another file. */
const qcow2ExternalDataFile = 1n << 2n;
/** Formats with references of their own, or that a probing reader would take for something else than raw bytes. */
const foreignMagics = ["KDMV", "COWD", "vhdxfile", "conectix", "<<< Oracle VM", "# Disk DescriptorFile", "QED\0"];

export interface InspectOptions {
  /** An overlay, whose base is named by who opens it and not by its header. */
  readonly mayHaveBase?: boolean;
  /** It was made as a raw disk, and its guest may have written anything into it. */
  readonly asRaw?: boolean;
}

/** The explicit format of a disk, `raw` for kernels. @throws INVALID_ARGUMENT for an image that is refused. */
export async function inspectImage(
  path: string,
  format: ImageRecord["format"],
  options: InspectOptions = {},
): Promise<{ readonly diskFormat: "raw" | "qcow2" }> {
  const header = await readHeader(path);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  switch (format) {
    case "multiboot":
      if (!hasMultibootHeader(view)) throw refuse("it has no multiboot header in its first 8 KiB");
      return { diskFormat: "raw" };
    case "linux":
      // Documentation/arch/x86/boot.rst: the setup header's magic "HdrS".
      if (view.byteLength < 0x206 || view.getUint32(0x202, true) !== 0x5372_6448)
        throw refuse("it is no Linux bzImage");
      return { diskFormat: "raw" };
    case "disk":
      return { diskFormat: options.asRaw === true ? "raw" : inspectDisk(header, view, options) };
    default:
      return format satisfies never;
  }
}

/** How large the guest sees a disk that was inspected. */
export async function virtualBytesOf(path: string, format: "raw" | "qcow2"): Promise<number> {
  if (format === "raw") return (await stat(path)).size;
  const header = await readHeader(path);
  return Number(new DataView(header.buffer, header.byteOffset, header.byteLength).getBigUint64(qcow2SizeOffset));
}

function hasMultibootHeader(view: DataView): boolean {
  for (let at = 0; at + 12 <= view.byteLength; at += 4) {
    if (view.getUint32(at, true) !== 0x1bad_b002) continue;
    const sum = view.getUint32(at, true) + view.getUint32(at + 4, true) + view.getUint32(at + 8, true);
    if (sum % 2 ** 32 === 0) return true;
  }
  return false;
}

function inspectDisk(header: Uint8Array, view: DataView, { mayHaveBase = false }: InspectOptions): "raw" | "qcow2" {
  const text = new TextDecoder("latin1").decode(header.subarray(0, 64));
  for (const magic of foreignMagics)
    if (text.startsWith(magic)) throw refuse(`its format (${magic.trim()}) is not taken`);
  if (view.byteLength < 104 || view.getUint32(0) !== qcow2Magic) return "raw";
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) throw refuse(`qcow2 version ${version} is not known`);
  if (!mayHaveBase && view.getBigUint64(8) !== 0n) throw refuse("it names a backing file");
  if (version === 3 && (view.getBigUint64(72) & qcow2ExternalDataFile) !== 0n) throw refuse("it names a data file");
  return "qcow2";
}

async function readHeader(path: string): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const buffer = new Uint8Array(headerBytes);
    const { bytesRead } = await file.read(buffer, 0, headerBytes, 0);
    return buffer.slice(0, bytesRead);
  } finally {
    await file.close();
  }
}

function refuse(reason: string): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", `the image is refused: ${reason}`);
}
