/** Turns an image record into files that a driver can boot. */
import { BlixardError } from "@blixard/common";
import { type ImageBlob, type ImageRecord, mainRoleOf } from "@blixard/protocol";
import type { ImageDisk } from "../disks/vm-disks.ts";
import type { BootSource } from "../driver.ts";
import { builtinImages } from "./builtin-images.ts";
import type { ImageStore } from "./image-store.ts";
import { inspectImage } from "./inspect-image.ts";

export interface PreparedImage {
  readonly boot: BootSource;
  /** Undefined for an image without one. */
  readonly disk: ImageDisk | undefined;
}

/**
 * Fetches what is missing and inspects it.
 * @throws UNAVAILABLE, STORAGE_CORRUPT, INVALID_ARGUMENT
 */
export async function prepareBoot(images: ImageStore, image: ImageRecord, signal: AbortSignal): Promise<PreparedImage> {
  const record = ownBuiltin(image);
  const path = async (role: ImageBlob["role"]) => {
    const blob = record.blobs.find((candidate) => candidate.role === role);
    return blob === undefined ? undefined : await images.ensure(blob, record.sources, signal);
  };
  const main = await path(mainRoleOf(record.format));
  if (main === undefined) throw new BlixardError("INVALID_ARGUMENT", `the image ${record.name} has no main blob`);
  if (record.format !== "disk") await inspectImage(main, record.format);
  const diskPath = await path("disk");
  const recorded = record.blobs.find(({ role }) => role === "disk")?.format;
  const disk =
    diskPath === undefined
      ? undefined
      : { path: diskPath, format: (await inspectImage(diskPath, "disk", { diskFormat: recorded })).diskFormat };
  switch (record.format) {
    case "multiboot":
      return { boot: { type: "multiboot", kernelPath: main, commandLine: record.commandLine }, disk };
    case "linux": {
      const initrdPath = await path("initrd");
      return { boot: { type: "linux", kernelPath: main, initrdPath, commandLine: record.commandLine }, disk };
    }
    case "disk":
    case "iso":
      return { boot: { type: "disk" }, disk };
    default:
      return record.format satisfies never;
  }
}

/** A built-in image is this node's own, also when the record was written by a node of another version. */
function ownBuiltin(image: ImageRecord): ImageRecord {
  if (!image.builtin) return image;
  return builtinImages.find(({ name }) => name === image.name) ?? image;
}
