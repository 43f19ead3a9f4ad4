/**
 * Lays out the directory of an instance for its process. The directory stays the manager's, and the process may not make,
 * rename or remove a name in it: it writes into files that are there and belong to it. So the manager can open what the
 * directory shows without being led elsewhere.
 */
import { chmod, chown, copyFile, link, open, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { systemErrorCodeOf } from "@blixard/common";
import type { AttachedDisk, BootSource, Confinement, InstanceSpec } from "../driver.ts";

/** Names that parts of a shared image have in the directory of an instance. */
const kernelName = "kernel";
const initrdName = "initrd";
export const imageNames = [kernelName, initrdName] as const;

/** May be entered by whoever is in the directories above it, which are private. */
const enterableMode = 0o711;
const readableMode = 0o444;

/** Makes the files and gives them to the user of the instance. Resolves with those that its process opens, as it sees them. */
export async function prepareInstanceFiles(
  spec: InstanceSpec,
  journalInput: string,
): Promise<Pick<InstanceSpec, "boot" | "disks" | "seedPath" | "cdroms">> {
  const { paths, confinement } = spec;
  if (confinement.uid !== undefined) await chmod(paths.directory, enterableMode);
  await writeOwned(paths.journalIn, journalInput, confinement);
  await writeOwned(paths.journalOut, "", confinement);
  await writeOwned(paths.consoleLog, undefined, confinement);
  const { seedPath } = spec;
  if (seedPath !== undefined && confinement.uid !== undefined) await chown(seedPath, confinement.uid, confinement.uid);
  const seed = seedPath === undefined ? {} : { seedPath: basename(seedPath) };
  for (const { path } of spec.cdroms ?? []) {
    if (path !== undefined && confinement.uid !== undefined) await chmod(path, readableMode);
  }
  const cdroms = (spec.cdroms ?? []).map(({ name, path }) => ({ name, path: path && basename(path) }));
  return { boot: await bringBootSource(spec), disks: await bringDisks(spec.disks, confinement.uid), cdroms, ...seed };
}

/** Gives disks to the user of the instance. Resolves with them as its process sees them. */
export async function bringDisks(
  disks: readonly AttachedDisk[],
  uid: number | undefined,
): Promise<readonly AttachedDisk[]> {
  if (uid !== undefined) {
    for (const { path, base } of disks) {
      await chown(path, uid, uid);
      if (base !== undefined) await chmod(base.path, readableMode);
    }
  }
  return disks.map(({ base, ...disk }) => ({
    ...disk,
    path: basename(disk.path),
    ...(base === undefined ? {} : { base: { ...base, path: basename(base.path) } }),
  }));
}

/** A file that the process of the instance may read and write. Without content it keeps what it has. */
export async function writeOwned(path: string, content: string | undefined, { uid }: Confinement): Promise<void> {
  const file = await open(path, content === undefined ? "a" : "w", 0o600);
  try {
    if (content !== undefined) await file.writeFile(content);
    if (uid !== undefined) await file.chown(uid, uid);
  } finally {
    await file.close();
  }
}

async function bringBootSource({ boot, paths, confinement }: InstanceSpec): Promise<BootSource> {
  const bring = (path: string, name: string) => bringImage(path, join(paths.directory, name), confinement);
  switch (boot.type) {
    case "multiboot":
      return { ...boot, kernelPath: await bring(boot.kernelPath, kernelName) };
    case "linux": {
      const { kernelPath, initrdPath } = boot;
      return {
        ...boot,
        kernelPath: await bring(kernelPath, kernelName),
        initrdPath: initrdPath === undefined ? undefined : await bring(initrdPath, initrdName),
      };
    }
    case "disk":
      return boot;
    default:
      return boot satisfies never;
  }
}

/** A second name for the shared image, which its owner, the manager, alone may write. */
export async function bringImage(from: string, to: string, { uid }: Pick<Confinement, "uid">): Promise<string> {
  await rm(to, { force: true });
  try {
    await link(from, to);
  } catch (error) {
    // The image store may stand on another file system, or on one without links.
    if (systemErrorCodeOf(error) === "ENOENT") throw error;
    await copyFile(from, to);
  }
  if (uid !== undefined) await chmod(to, readableMode);
  return basename(to);
}
