/** Changes of the disks of a VM that exists. One that runs has them at once where its driver can do that. */
import { z } from "zod";
import { command, method } from "./definitions.ts";
import { nameSchema, writtenSchema } from "./values.ts";
import { vmRecordSchema } from "./vm.ts";
import { bytesPerSecondSchema, diskNameSchema, diskSizeSchema, iopsSchema } from "./vm-disks.ts";

/** Null: no limit any more. What is left out stays. */
const changeable = {
  sizeGiB: diskSizeSchema.exactOptional(),
  iops: iopsSchema.nullable().exactOptional(),
  bytesPerSecond: bytesPerSecondSchema.nullable().exactOptional(),
};

const diskChangeSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("attach"), disk: diskNameSchema, volume: nameSchema }),
  z.object({ kind: z.literal("detach"), disk: diskNameSchema }),
  z.object({ kind: z.literal("change"), disk: diskNameSchema, ...changeable }),
]);

export const vmDiskCommands = {
  "vm.disk": command({
    since: 3,
    subject: ({ name, change }) => `${name} ${change.kind} ${change.disk}`,
    body: z.object({ name: nameSchema, change: diskChangeSchema }),
  }),
};

const aDisk = { name: nameSchema, disk: diskNameSchema };
const vmWritten = writtenSchema.extend({ vm: vmRecordSchema });
const shared = { since: 3, place: "leader", access: "operator", writes: true, response: vmWritten } as const;

export const vmDiskMethods = {
  "vm.attachDisk": method({
    ...shared,
    summary: "give a VM a volume as a disk",
    http: [{ verb: "POST", path: "/v1/vms/{name}/disks", merged: "vm" }],
    client: { group: "vms", name: "attachDisk", args: "request" },
    request: z.object({ ...aDisk, volume: nameSchema }).strict(),
  }),
  "vm.detachDisk": method({
    ...shared,
    summary: "take a volume from a VM",
    http: [{ verb: "DELETE", path: "/v1/vms/{name}/disks/{disk}", merged: "vm" }],
    client: { group: "vms", name: "detachDisk", args: "request" },
    request: z.object(aDisk).strict(),
  }),
  "vm.changeDisk": method({
    ...shared,
    summary: "make a disk of a VM larger, or limit what its guest does with it",
    http: [{ verb: "PATCH", path: "/v1/vms/{name}/disks/{disk}", merged: "vm" }],
    client: { group: "vms", name: "changeDisk", args: "request" },
    request: z
      .object({ ...aDisk, ...changeable })
      .strict()
      .refine((asked) => Object.keys(changeable).some((field) => field in asked), "say what is to change"),
  }),
};
