/** Which disks a VM has on its node, from what it is to have, what the node has recorded and what the cluster remembers. */
import { BlixardError } from "@blixard/common";
import { disksOf, rootDiskName, type VmDisk, volumesOf } from "@blixard/protocol";
import type { AttachedDisk } from "../driver.ts";
import type { InstanceRecord } from "../instance-record.ts";
import type { DesiredVm } from "../vm-manager-types.ts";
import type { VolumeKeeper } from "../volumes/volume-keeper.ts";
import { type MadeDisk, missingDisks, prepareDisks, removeDisks, type VmDisksWish } from "./vm-disks.ts";

type Wish = Pick<DesiredVm, "spec" | "image" | "fencingEpoch" | "madeDisks">;
type Known = Pick<InstanceRecord, "disks" | "hasDisk"> | undefined;

/** Those that are made for the VM, and not volumes. */
function ownDisks({ spec, image }: Wish): readonly VmDisk[] {
  return disksOf(spec, image).filter(({ volume }) => volume === undefined);
}

/** The files of the volumes of a VM, by their names. @throws NOT_FOUND for one that is not here */
export async function findVolumes(
  volumes: Pick<VolumeKeeper, "find">,
  { spec, volumeIds = new Map() }: Pick<DesiredVm, "spec" | "volumeIds">,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const name of volumesOf(spec)) {
    const volumeId = volumeIds.get(name);
    const path = volumeId === undefined ? undefined : await volumes.find(volumeId);
    if (path === undefined) throw new BlixardError("NOT_FOUND", `the volume ${name} of the VM is not on this node`);
    found.set(name, path);
  }
  return found;
}

/** @throws NOT_FOUND when a disk that was made once is not there */
export async function assertDisks(directory: string, wish: Wish, known: Known): Promise<void> {
  const { madeDisks = [] } = wish;
  const own = ownDisks(wish).filter(({ ephemeral = false }) => !ephemeral);
  // Records of before know of no other disk than the root.
  const recorded = known?.disks?.map(({ name }) => name) ?? (known?.hasDisk === true ? [rootDiskName] : []);
  const made = new Set([...recorded, ...madeDisks]);
  const expected = own.map(({ name }) => name).filter((name) => made.has(name));
  const missing = await missingDisks(directory, expected);
  if (missing.length === 0) return;
  const message = `the disk ${missing.join(", ")} of the VM was made here and is not in its directory any more`;
  throw new BlixardError("NOT_FOUND", message);
}

/** Makes those that are not there. @throws INVALID_ARGUMENT for an image that one cannot be made of */
export async function makeDisks(
  directory: string,
  wish: Wish,
  known: Known,
  files: Pick<VmDisksWish, "imageDisk" | "volumes">,
): Promise<readonly AttachedDisk[]> {
  const { spec, image, fencingEpoch, madeDisks = [] } = wish;
  // What it left here before it ran elsewhere is of no use to it: nobody knows how old that is.
  const stale = (known?.disks ?? []).filter(
    (disk) => disk.ephemeral && disk.fencingEpoch < fencingEpoch && !madeDisks.includes(disk.name),
  );
  const names = stale.map(({ name }) => name);
  await removeDisks(directory, names);
  const hasOwnRoot = spec.disks?.some(({ name }) => name === rootDiskName) === true;
  return await prepareDisks(directory, { disks: disksOf(spec, image), hasOwnRoot, ...files });
}

/** The disks that the VM has here now, with the epoch in which each was made. */
export function madeDisksOf(wish: Wish, { disks = [] }: InstanceRecord): MadeDisk[] {
  const { fencingEpoch, madeDisks = [] } = wish;
  return ownDisks(wish).map(({ name, ephemeral = false }) => {
    const before = disks.find((disk) => disk.name === name);
    const stays = before !== undefined && (!ephemeral || madeDisks.includes(name));
    return { name, ephemeral, fencingEpoch: stays ? before.fencingEpoch : fencingEpoch };
  });
}
