/** Turns an image record into files that a driver can boot. */
import { access, constants, copyFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError, systemErrorCodeOf } from "@blixard/common";
import { renameDurable } from "@blixard/common/system";
import type { ImageBlob, ImageRecord } from "@blixard/protocol";
import type { BootSource } from "../driver.ts";
import { builtinImages } from "./builtin-images.ts";
import type { ImageStore } from "./image-store.ts";
import { inspectImage } from "./inspect-image.ts";

/**
 * Fetches what is missing and inspects it. A disk is copied once into the VM's directory and stays there.
 * @throws UNAVAILABLE, STORAGE_CORRUPT, INVALID_ARGUMENT
 */
export async function prepareBoot(
  images: ImageStore,
  image: ImageRecord,
  directory: string,
  signal: AbortSignal,
): Promise<BootSource> {
  const record = ownBuiltin(image);
  const path = async (role: ImageBlob["role"]) => {
    const blob = record.blobs.find((candidate) => candidate.role === role);
    return blob === undefined ? undefined : await images.ensure(blob, record.sources, signal);
  };
  const main = await path(record.format === "disk" ? "disk" : "kernel");
  if (main === undefined) throw new BlixardError("INVALID_ARGUMENT", `the image ${record.name} has no main blob`);
  const { diskFormat } = await inspectImage(main, record.format);
  switch (record.format) {
    case "multiboot":
      return { type: "multiboot", kernelPath: main, commandLine: record.commandLine };
    case "linux":
      return { type: "linux", kernelPath: main, initrdPath: await path("initrd"), commandLine: record.commandLine };
    case "disk":
      return { type: "disk", diskPath: await copyDisk(main, join(directory, `disk.${diskFormat}`)), diskFormat };
    default:
      return record.format satisfies never;
  }
}

/** A built-in image is this node's own, also when the record was written by a node of another version. */
function ownBuiltin(image: ImageRecord): ImageRecord {
  if (!image.builtin) return image;
  return builtinImages.find(({ name }) => name === image.name) ?? image;
}

async function copyDisk(from: string, to: string): Promise<string> {
  const temporary = `${to}.tmp`;
  try {
    await access(to);
    return to;
  } catch (error) {
    if (systemErrorCodeOf(error) !== "ENOENT") throw error;
  }
  await rm(temporary, { force: true });
  await copyFile(from, temporary, constants.COPYFILE_FICLONE);
  await renameDurable(temporary, to);
  return to;
}
