/**
 * The disks of a VM that go from one node to another while it stands still. The node that takes them asks the other one for
 * them, and says how far it is; the record of the VM names the one node that has the data:
 *
 *     held, and its node says that it has ended --> the other node copies --> copied --> the VM is the other node's
 *                                                                                          and runs --> dropped
 *
 * A volume that no VM has goes the same way (`volume-move.ts`).
 */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { nodeIdSchema, writtenSchema } from "./values.ts";
import { diskNamesSchema } from "./vm-disks.ts";

const bytesSchema = z.int().min(0);
const epochSchema = z.int().min(0);

const progressShape = {
  /** `failed`: it is not tried again. */
  state: z.enum(["copying", "copied", "failed"]),
  doneBytes: bytesSchema,
  /** 0 while it is not known. */
  wholeBytes: bytesSchema,
  bytesPerSecond: bytesSchema,
  /** Why it does not go on, or has failed. */
  message: z.string().max(limits.placementLengthMax),
  /** Of what it failed with. */
  code: z.string().max(64).exactOptional(),
  /** The disks that came. */
  names: diskNamesSchema.exactOptional(),
};

/** How far the copy of the disks of a VM is. */
export const diskCopySchema = z.object(progressShape);
export type DiskCopy = Readonly<z.infer<typeof diskCopySchema>>;

/** The disks of a VM that came to its node from another one. */
export const movedDisksSchema = z.object({
  node: nodeIdSchema,
  /** The epoch in which they were copied. */
  epoch: epochSchema,
  /** It never makes one of them anew. */
  names: diskNamesSchema,
  /** Nodes that have an older copy, which they let go when the VM runs. */
  leftOn: z.array(nodeIdSchema).max(limits.vmCopiesLeftMax),
});

/** The files of the disks of a VM, and of its volumes and their snapshots, as the node that has them tells the one that takes them. */
export const diskIndexSchema = z.object({
  files: z
    .array(
      z.object({
        name: z.string().regex(/^(disk(-[a-z0-9-]{1,64})?\.(raw|qcow2)|volume-[0-9a-f-]{36}(\.[0-9a-f-]{36})?\.raw)$/),
        sizeBytes: z
          .int()
          .min(0)
          .max(limits.diskCopyGiBMax * 1024 ** 3),
      }),
    )
    .max((limits.vmDisksMax + 1) * (limits.volumeSnapshotsMax + 1)),
});
export type DiskIndex = Readonly<z.infer<typeof diskIndexSchema>>;

const observationSchema = z.object({
  /** The VM, or the volume that goes without one. */
  vmId: z.uuid(),
  /** The epoch that the hold has begun; of `dropped` that of the VM. */
  epoch: epochSchema,
  ...progressShape,
  /** `dropped`: the older copy of this node is gone. */
  state: z.enum([...progressShape.state.options, "dropped"]),
});
export type DiskCopyObservation = Readonly<z.infer<typeof observationSchema>>;

const observed = { nodeId: nodeIdSchema, copies: z.array(observationSchema).max(limits.copiesObservedMax) };

export const diskCopyCommands = {
  "vm.observeCopy": command({ since: 3, subject: ({ nodeId }) => nodeId, body: z.object(observed) }),
};

export const diskCopyMethods = {
  "vm.observeCopy": method({
    summary: "how far a node is with the disks of VMs that it takes",
    since: 3,
    place: "leader",
    access: "node",
    writes: true,
    request: z.object(observed).strict(),
    response: writtenSchema,
  }),
};
