/**
 * The CD-ROM drives of a VM, and the order in which its firmware looks for what boots. A drive holds an image of the format
 * `iso`, or nothing. It is read only and holds no data of the VM, so it says nothing about where that can be started.
 */
import { z } from "zod";
import { limits } from "../limits.ts";
import { imageNameSchema } from "./image.ts";
import { diskNameSchema, disksOf, imageHasDisk, rootDiskName, type VmDisk } from "./vm-disks.ts";

const vmCdromSchema = z
  .object({
    name: diskNameSchema,
    /** What lies in it. Absent: nothing. */
    image: imageNameSchema.exactOptional(),
  })
  .strict();
export type VmCdrom = Readonly<z.infer<typeof vmCdromSchema>>;

export const vmCdromsSchema = z
  .array(vmCdromSchema)
  .max(limits.vmCdromsMax)
  .refine((drives) => new Set(drives.map(({ name }) => name)).size === drives.length, "two drives have the same name")
  .meta({ since: 3, description: "its CD-ROM drives, each with an ISO image or empty" });

export const bootOrderSchema = z
  .array(diskNameSchema)
  .min(1)
  .max(limits.vmDisksMax + 1 + limits.vmCdromsMax)
  .refine((names) => new Set(names).size === names.length, "a name stands there twice")
  .meta({
    since: 3,
    description: "disks and CD-ROM drives in which its firmware looks for what boots, first one first",
  });

/** What is read of a specification here. */
export interface BootWishes {
  readonly disks?: readonly VmDisk[];
  readonly cdroms?: readonly VmCdrom[];
  readonly bootOrder?: readonly string[];
}

interface BootImage {
  readonly name: string;
  readonly format: string;
  readonly blobs?: readonly { readonly role: string }[];
}

export const sharedDriveName = "a drive has the name of a disk";

/** False where a name would be that of two things. */
export function drivesFit({ disks = [], cdroms = [] }: BootWishes): boolean {
  return cdroms.every(({ name }) => name !== rootDiskName && !disks.some((disk) => disk.name === name));
}

/** The drive of a VM that is made of an ISO image and says nothing about drives; numbered where a disk has that name. */
const firstDriveName = "cdrom";

/** The specification with the drive in which the image lies that it is made of, where that is one. */
export function withOwnDrive<Spec extends BootWishes>(spec: Spec, { name, format }: BootImage): Spec {
  if (format !== "iso" || spec.cdroms !== undefined) return spec;
  const taken = new Set(spec.disks?.map((disk) => disk.name));
  let drive = firstDriveName;
  for (let at = 2; taken.has(drive); at++) drive = `${firstDriveName}-${at}`;
  return { ...spec, cdroms: [{ name: drive, image: name }] };
}

/** The images that lie in the drives, each once. */
export function cdromImagesOf({ cdroms = [] }: BootWishes): string[] {
  return [...new Set(cdroms.flatMap(({ image }) => (image === undefined ? [] : [image])))];
}

/** Disks and drives in the order in which the firmware looks at them. What is not named is not looked at. */
export function bootOrderOf(spec: BootWishes, image: BootImage): readonly string[] {
  if (spec.bootOrder !== undefined) return spec.bootOrder;
  if (image.format === "disk") return [rootDiskName];
  if (image.format !== "iso") return [];
  // An installer fills the disk, from which it boots the next time.
  return [...disksOf(spec, image), ...(spec.cdroms ?? [])].map(({ name }) => name);
}

/** Why a VM of this image cannot boot in this order; undefined when it can. */
export function bootOrderRefusal(spec: BootWishes, image: BootImage): string | undefined {
  const { bootOrder, cdroms = [] } = spec;
  if (bootOrder === undefined) return undefined;
  if (image.format !== "iso" && (image.format !== "disk" || !imageHasDisk(image))) {
    return `spec.bootOrder: the image ${image.name} has a kernel, which boots before everything else`;
  }
  const known = [...disksOf(spec, image), ...cdroms].map(({ name }) => name);
  const at = bootOrder.findIndex((name) => !known.includes(name));
  return at < 0 ? undefined : `spec.bootOrder.${at}: there is no disk and no CD-ROM drive ${bootOrder[at]}`;
}
