/**
 * The disks of a VM on its node. `root` is the disk of its image, which it has also without a word about it; the others
 * are empty when they are made. What an ephemeral disk holds may be lost whenever the VM starts on another node.
 */
import { z } from "zod";
import { limits } from "../limits.ts";
import { nameSchema, nodeIdSchema } from "./values.ts";

interface DiskParts {
  readonly name: string;
  readonly sizeGiB?: number;
  readonly ephemeral?: boolean;
}

function isOnlyVolume({ name, sizeGiB, ephemeral }: DiskParts): boolean {
  return name !== rootDiskName && sizeGiB === undefined && ephemeral === undefined;
}

/** The disk that belongs to the image. */
export const rootDiskName = "root";

/** The guest sees the name as the serial number of the disk. */
export const diskNameSchema = z
  .string()
  .max(limits.vmDiskNameLengthMax)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, "use lower-case letters, digits and dashes");

export const diskSizeSchema = z.int().min(1).max(limits.vmDiskGiBMax);

export const iopsSchema = z.int().min(limits.vmDiskIopsMin).max(limits.vmDiskIopsMax);
export const bytesPerSecondSchema = z.int().min(limits.vmDiskRateMin).max(limits.vmDiskRateMax);

const vmDiskSchema = z
  .object({
    name: diskNameSchema,
    /** Of `root`: default that of the disk of the image, and never less. */
    sizeGiB: diskSizeSchema.exactOptional(),
    ephemeral: z.boolean().exactOptional(),
    /** The volume that it is. It has the size and the life of that. */
    volume: nameSchema.exactOptional(),
    /** Reads and writes together, of each second. Default: as many as there can be. */
    iops: iopsSchema.exactOptional(),
    bytesPerSecond: bytesPerSecondSchema.exactOptional(),
  })
  .strict()
  .refine(({ name, sizeGiB, volume }) => name === rootDiskName || sizeGiB !== undefined || volume !== undefined, {
    path: ["sizeGiB"],
    message: "a disk that is not the root of an image needs a size, or a volume",
  })
  .refine((disk) => disk.volume === undefined || isOnlyVolume(disk), {
    path: ["volume"],
    message: "a volume has its size and its life of its own, and is not the root of an image",
  });
export type VmDisk = Readonly<z.infer<typeof vmDiskSchema>>;

export const vmDisksSchema = z
  .array(vmDiskSchema)
  .max(limits.vmDisksMax)
  .refine((disks) => new Set(disks.map(({ name }) => name)).size === disks.length, "two disks have the same name")
  .refine(
    (disks) => new Set(volumesOf({ disks })).size === volumesOf({ disks }).length,
    "two disks are the same volume",
  )
  .meta({ since: 3, description: "its disks; root is that of the image" });

/** The disks that a node has made of a VM. */
export const diskNamesSchema = z.array(diskNameSchema).max(limits.vmDisksMax + 1);
export const recordedDisksSchema = z.object({
  node: nodeIdSchema,
  names: diskNamesSchema,
});

/** The disks that a running VM has at this moment. */
export const guestDisksSchema = z.object({
  /** They are as of the change of its disks that stood in this entry, or why not stands in a condition. */
  index: z.int().min(0),
  disks: z.array(z.object({ name: diskNameSchema, sizeBytes: z.int().min(0) })).max(limits.vmDisksMax + 1),
});
export type GuestDisks = Readonly<z.infer<typeof guestDisksSchema>>;

/** A volume that a VM is to let go of. */
export const detachingSchema = z.object({ disk: diskNameSchema, volume: nameSchema });

/** What is read of an image here. */
interface ImageParts {
  readonly format: string;
  readonly blobs?: readonly { readonly role: string; readonly sizeBytes?: number }[];
}

const mebibytesPerGib = 1024;
const bytesPerMiB = 1024 * 1024;

/** What the disks of a VM may take on its node when they are full; volumes count for themselves. */
export function diskMiBOf(spec: { readonly disks?: readonly VmDisk[] }, image: ImageParts): number {
  // A root disk without a size is a copy of that of the image.
  const copied = image.blobs?.find(({ role }) => role === "disk")?.sizeBytes ?? 0;
  return disksOf(spec, image).reduce((sum, { sizeGiB, volume }) => {
    if (volume !== undefined) return sum;
    return sum + (sizeGiB === undefined ? Math.ceil(copied / bytesPerMiB) : sizeGiB * mebibytesPerGib);
  }, 0);
}

/** Whether an image brings a disk, which is written to. */
export function imageHasDisk({ format, blobs = [] }: ImageParts): boolean {
  return format === "disk" || blobs.some(({ role }) => role === "disk");
}

/** All disks of a VM, in the order in which its guest sees them. */
export function disksOf({ disks = [] }: { readonly disks?: readonly VmDisk[] }, image: ImageParts): readonly VmDisk[] {
  const others = disks.filter(({ name }) => name !== rootDiskName);
  if (!imageHasDisk(image)) return others;
  return [disks.find(({ name }) => name === rootDiskName) ?? { name: rootDiskName }, ...others];
}

/** The names of the volumes that a specification asks for. */
export function volumesOf({ disks = [] }: { readonly disks?: readonly VmDisk[] }): string[] {
  return disks.flatMap(({ volume }) => (volume === undefined ? [] : [volume]));
}

/** Whether nobody can start the VM elsewhere with what it had: it keeps something on a disk of its node. */
export function hasOwnData(spec: { readonly disks?: readonly VmDisk[] }, image: ImageParts): boolean {
  return disksOf(spec, image).some(({ ephemeral = false }) => !ephemeral);
}

/** Why a VM of this image cannot have these disks; undefined when it can. */
export function disksRefusal(spec: { readonly disks?: readonly VmDisk[] }, image: ImageParts): string | undefined {
  const at = (spec.disks ?? []).findIndex(({ name }) => name === rootDiskName);
  if (at < 0 || imageHasDisk(image)) return undefined;
  return `spec.disks.${at}.name: the image has no disk that could be the disk ${rootDiskName}`;
}
