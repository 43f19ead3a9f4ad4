/**
 * The disks of one VM, as files in its directory. One that was made once is never made anew: what is missing then is lost
 * data, and not a fresh disk.
 *
 *     disk.raw, disk.qcow2   the root of a VM that says nothing about it: a copy of the disk of its image
 *     disk-root.qcow2        the root of one that does: an overlay on `disk-root.base`, which is the disk of the image
 *     disk-NAME.raw          another disk, empty when it is made
 *     volume-NAME.raw        a second name of a volume, while the VM runs
 *     volume-NAME.copy       a copy of one on its way to be a snapshot of it, while the VM runs
 */
import { access, copyFile, constants as fsConstants, link, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError, systemErrorCodeOf } from "@blixard/common";
import { renameDurable } from "@blixard/common/system";
import { limits, rootDiskName, type VmDisk } from "@blixard/protocol";
import type { AttachedDisk } from "../driver.ts";
import { inspectImage, virtualBytesOf } from "../images/inspect-image.ts";
import { writeOverlay } from "./qcow2-overlay.ts";

const gibibyte = 1024 ** 3;
const sectorBytes = 512;

/** The disk of an image, as the image store has it. */
export interface ImageDisk {
  readonly path: string;
  readonly format: "raw" | "qcow2";
}

export interface VmDisksWish {
  /** All of them, the root first where there is one. */
  readonly disks: readonly VmDisk[];
  /** The specification names the root. */
  readonly hasOwnRoot: boolean;
  readonly imageDisk: ImageDisk | undefined;
  /** The files of its volumes, by their names. */
  readonly volumes: ReadonlyMap<string, string>;
}

/** A disk that this node made. */
export interface MadeDisk {
  readonly name: string;
  readonly ephemeral: boolean;
  /** In which epoch of the VM. */
  readonly fencingEpoch: number;
}

/** The files that a disk may have; the first one that is there is it. */
function filesOf(name: string): readonly { readonly file: string; readonly format: "raw" | "qcow2" }[] {
  if (name !== rootDiskName) return [{ file: `disk-${name}.raw`, format: "raw" }];
  return [
    { file: "disk-root.qcow2", format: "qcow2" },
    { file: "disk.raw", format: "raw" },
    { file: "disk.qcow2", format: "qcow2" },
  ];
}

/** Whether a name in the directory of a VM is that of a disk. */
export function isDiskFile(name: string): boolean {
  return /^disk(-[a-z0-9-]+)?\.(raw|qcow2)$/.test(name);
}

const baseFile = "disk-root.base";

/** The names of those disks that are not there. */
export async function missingDisks(directory: string, names: readonly string[]): Promise<string[]> {
  const missing: string[] = [];
  for (const name of names) if ((await findDisk(directory, name)) === undefined) missing.push(name);
  return missing;
}

/** Makes what is not there, and looks at what is. @throws INVALID_ARGUMENT for an image that a disk cannot be made of */
export async function prepareDisks(directory: string, wish: VmDisksWish): Promise<AttachedDisk[]> {
  const attached: AttachedDisk[] = [];
  for (const disk of wish.disks) {
    const volume = disk.volume === undefined ? undefined : wish.volumes.get(disk.volume);
    if (volume !== undefined) attached.push(await linkVolume(directory, disk, volume));
    else if (disk.name === rootDiskName) attached.push(await prepareRoot(directory, disk, wish));
    else attached.push(await prepareEmpty(directory, disk));
  }
  return attached;
}

/** Whether a name in the directory of a VM is that of a volume, or of a copy on its way, which goes when the VM has ended. */
export function isVolumeLink(name: string): boolean {
  return /^volume-[a-z0-9-]+\.(raw|copy)$/.test(name);
}

/** Its process finds it in its working directory, as all its files. */
export async function linkVolume(
  directory: string,
  { name }: Pick<VmDisk, "name">,
  from: string,
): Promise<AttachedDisk> {
  const path = volumeLinkOf(directory, name);
  await rm(path, { force: true });
  await link(from, path);
  return { name, path, format: "raw", isRemovable: true };
}

export async function unlinkVolume(directory: string, name: string): Promise<void> {
  await rm(volumeLinkOf(directory, name), { force: true });
}

function volumeLinkOf(directory: string, name: string): string {
  return join(directory, `volume-${name}.raw`);
}

export async function removeDisks(directory: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const files = filesOf(name).map(({ file }) => file);
    for (const file of name === rootDiskName ? [...files, baseFile] : files) {
      await rm(join(directory, file), { force: true });
    }
  }
}

async function prepareRoot(directory: string, disk: VmDisk, wish: VmDisksWish): Promise<AttachedDisk> {
  const { imageDisk } = wish;
  if (imageDisk === undefined) throw new BlixardError("INVALID_ARGUMENT", "the image has no disk");
  const present = await findDisk(directory, rootDiskName);
  const overlays = present?.file === "disk-root.qcow2" || (present === undefined && wish.hasOwnRoot);
  if (!overlays) {
    const path = join(directory, present?.file ?? `disk.${imageDisk.format}`);
    if (present === undefined) await make(path, (temporary) => copySparse(imageDisk.path, temporary));
    // The process of the VM writes to it: what it refers to is looked at before each start.
    const diskFormat = present?.format ?? imageDisk.format;
    await inspectImage(path, "disk", { isWritten: true, diskFormat });
    return { name: rootDiskName, path, format: diskFormat };
  }
  const base = join(directory, baseFile);
  const path = join(directory, "disk-root.qcow2");
  if (!(await isThere(base))) await make(base, (temporary) => linkOrCopy(imageDisk.path, temporary));
  if (present === undefined) {
    const virtualBytes = await sizeOfRoot(disk, imageDisk);
    await make(path, (temporary) =>
      writeOverlay(temporary, { virtualBytes, baseName: baseFile, baseFormat: imageDisk.format }),
    );
  }
  await inspectImage(path, "disk", { isWritten: true, mayHaveBase: true, diskFormat: "qcow2" });
  return { name: rootDiskName, path, format: "qcow2", base: { path: base, format: imageDisk.format } };
}

async function sizeOfRoot({ sizeGiB }: VmDisk, { path, format }: ImageDisk): Promise<number> {
  const baseBytes = await virtualBytesOf(path, format);
  const sizeBytes = sizeGiB === undefined ? Math.ceil(baseBytes / sectorBytes) * sectorBytes : sizeGiB * gibibyte;
  const refuse = (why: string) => new BlixardError("INVALID_ARGUMENT", `the disk ${rootDiskName}: ${why}`);
  if (sizeBytes > limits.vmDiskGiBMax * gibibyte) throw refuse(`that of the image has ${baseBytes} bytes, too many`);
  if (sizeBytes < baseBytes) {
    throw refuse(`${sizeGiB} GiB are less than the ${(baseBytes / gibibyte).toFixed(1)} GiB of the image`);
  }
  return sizeBytes;
}

async function prepareEmpty(directory: string, { name, sizeGiB = 0 }: VmDisk): Promise<AttachedDisk> {
  const path = join(directory, `disk-${name}.raw`);
  if (!(await isThere(path))) await make(path, (temporary) => writeEmpty(temporary, sizeGiB * gibibyte));
  return { name, path, format: "raw" };
}

/** Under another name until it is whole. */
async function make(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.tmp`;
  await rm(temporary, { force: true });
  await write(temporary);
  await renameDurable(temporary, path);
}

/** A file that takes room only where it was written to. */
async function writeEmpty(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.truncate(sizeBytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function copySparse(from: string, to: string): Promise<void> {
  await copyFile(from, to, fsConstants.COPYFILE_FICLONE);
}

/** A second name for the disk of the image, which the manager alone may write and nobody does. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    // Another file system, or one without links.
    if (systemErrorCodeOf(error) === "ENOENT") throw error;
    await copySparse(from, to);
  }
}

/** The disk that a file is. */
export function diskNameOf(file: string): string {
  return /^disk-([a-z0-9-]+)\./.exec(file)?.[1] ?? rootDiskName;
}

/** Removes what else there is of the disk that a file is. */
export async function removeOtherFiles(directory: string, file: string): Promise<void> {
  for (const other of filesOf(diskNameOf(file))) {
    if (other.file !== file) await rm(join(directory, other.file), { force: true });
  }
}

/** The file of a disk; undefined when it is not there. */
export async function findDisk(directory: string, name: string) {
  for (const found of filesOf(name)) if (await isThere(join(directory, found.file))) return found;
  return undefined;
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return false;
    throw error;
  }
}
