/**
 * What lies in the CD-ROM drives of a VM, as files in its directory: second names of ISO images, which are gone when the VM has
 * ended. A name says which image it is, so that a manager that finds the VM again knows what it has.
 *
 *     cdrom-NAME.DIGEST.iso
 */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError } from "@blixard/common";
import type { ImageBlob, VmCdrom } from "@blixard/protocol";
import type { AttachedCdrom } from "../driver.ts";
import type { ImageStore } from "../images/image-store.ts";
import { inspectImage } from "../images/inspect-image.ts";
import { bringImage } from "../process/instance-files.ts";
import type { DesiredVm } from "../vm-manager-types.ts";

const digestLength = 16;

export type CdromImages = Pick<ImageStore, "ensure">;

export interface CdromPlace {
  readonly directory: string;
  /** The user of the process; undefined: that of the manager. */
  readonly uid: number | undefined;
}

/** What is to lie in a drive. */
export interface Medium {
  /** Its name in the directory of the VM. */
  readonly file: string;
  readonly blob: ImageBlob;
  readonly sources: readonly number[];
}

/** Undefined for a drive that is to be empty. @throws INVALID_ARGUMENT */
export function mediumOf(
  { name, image }: VmCdrom,
  { cdromImages }: Pick<DesiredVm, "cdromImages">,
): Medium | undefined {
  if (image === undefined) return undefined;
  const record = cdromImages?.get(image);
  const blob = record?.blobs.find(({ role }) => role === "iso");
  if (record === undefined || blob === undefined) {
    throw new BlixardError("INVALID_ARGUMENT", `the image ${image} is no ISO image`);
  }
  return { file: `cdrom-${name}.${blob.digest.slice(0, digestLength)}.iso`, blob, sources: record.sources };
}

/** Brings it from other nodes where it is not here. Resolves with its path. @throws what `ensure` and `inspectImage` do */
export async function bringMedium(
  images: CdromImages,
  { file, blob, sources }: Medium,
  { directory, uid }: CdromPlace,
  signal: AbortSignal,
): Promise<string> {
  const path = await images.ensure(blob, sources, signal);
  await inspectImage(path, "iso");
  const brought = join(directory, file);
  await bringImage(path, brought, { uid });
  return brought;
}

/** Those of a VM that is to start. Who runs its process is known later. */
export async function prepareCdroms(
  images: CdromImages,
  wish: Pick<DesiredVm, "spec" | "cdromImages">,
  directory: string,
  signal: AbortSignal,
): Promise<AttachedCdrom[]> {
  const prepared: AttachedCdrom[] = [];
  for (const cdrom of wish.spec.cdroms ?? []) {
    const medium = mediumOf(cdrom, wish);
    const place = { directory, uid: undefined };
    const path = medium === undefined ? undefined : await bringMedium(images, medium, place, signal);
    prepared.push({ name: cdrom.name, path });
  }
  return prepared;
}

/** Whether a name in the directory of a VM is that of what lies in a drive. */
export function isCdromFile(name: string): boolean {
  return /^cdrom-[a-z0-9-]+\.[0-9a-f]+\.iso$/.test(name);
}

/** Removes the files of a drive that are not the one that lies in it now. */
export async function removeOtherMedia(directory: string, { name }: VmCdrom, kept: string | undefined): Promise<void> {
  for (const file of (await readdir(directory)).filter(isCdromFile)) {
    if (file.startsWith(`cdrom-${name}.`) && file !== kept) await rm(join(directory, file), { force: true });
  }
}
