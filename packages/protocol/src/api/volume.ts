/**
 * Volumes: disks that live on their own, before a VM has them and after it is gone. The record leaves room for volumes with
 * several copies; a local one has one, on the node where it was made, and so has the VM that it is attached to.
 */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { listSchema, pageSchema } from "./list.ts";
import { base64Of, digestSchema, nameSchema, nodeIdSchema, writtenSchema } from "./values.ts";
import { volumeMoveCommands, volumeMoveMethods, volumeMovingSchema } from "./volume-move.ts";

const sizeSchema = z.int().min(1).max(limits.vmDiskGiBMax);
const volumeKindSchema = z.enum(["local"]);

/**
 * `pending`: its node has not made it yet, or not in this size; `missing`: it was made once and is not there any more;
 * `deleting`: its node has to let it go.
 */
const volumeStateSchema = z.enum(["pending", "ready", "missing", "deleting"]);

/**
 * The volume as it was when no VM ran with it (`stopped`), when the agent in the guest had its file systems stand still (`frozen`),
 * or as a loss of power would have left it (`running`).
 */
const snapshotShowsSchema = z.enum(["stopped", "frozen", "running"]);

const snapshotSchema = z.object({
  name: nameSchema,
  /** Another one than that of a snapshot of the same name before it. */
  snapshotId: z.uuid(),
  /** As large as the volume was then. */
  sizeGiB: sizeSchema,
  /** `pending`: its node has not made it yet; `deleting`: its node has to let it go. */
  state: z.enum(["pending", "ready", "deleting"]),
  createdUnixMs: z.int().min(0),
  /** Absent: its node did not say. */
  shows: snapshotShowsSchema.exactOptional(),
});
export type VolumeSnapshot = Readonly<z.infer<typeof snapshotSchema>>;

export const volumeRecordSchema = z.object({
  name: nameSchema,
  /** Another one than that of a volume of the same name before it. */
  volumeId: z.uuid(),
  sizeGiB: sizeSchema,
  kind: volumeKindSchema,
  node: nodeIdSchema,
  copies: z.int().min(1),
  /** Grows with each attachment, each change of its node, and each one of its snapshots: what was said of it before is void. */
  epoch: z.int().min(0),
  state: volumeStateSchema,
  /** As large as its node has made it; 0 before it was made. */
  madeGiB: z.int().min(0),
  /** The VM that has it, running or not. */
  attachedTo: nameSchema.nullable(),
  /** The volume that it is to be a copy of, by its id, until it is. */
  sourceId: z.uuid().exactOptional(),
  /** It is being imported: the digest of what it is to hold, until it does. */
  importDigest: digestSchema.exactOptional(),
  /** It came with a VM from another node, in the epoch in which that was held; until its node has it in its place. */
  came: z.object({ vmId: z.uuid(), epoch: z.int().min(0) }).exactOptional(),
  /** Nodes that have an older copy, which they let go when it is ready on its node. */
  leftOn: z.array(nodeIdSchema).max(limits.vmCopiesLeftMax).exactOptional(),
  snapshots: z.array(snapshotSchema).max(limits.volumeSnapshotsMax).exactOptional(),
  /** The snapshot whose content it is to have again, until it has. */
  restoring: z.uuid().exactOptional(),
  /** Why the last snapshot was not made, or not restored. */
  problem: z.string().max(limits.placementLengthMax).exactOptional(),
  createdUnixMs: z.int().min(0),
  createdIndex: z.int().min(0),
  updatedIndex: z.int().min(0),
  moving: volumeMovingSchema.exactOptional(),
});
export type VolumeRecord = Readonly<z.infer<typeof volumeRecordSchema>>;

/** What its node saw of it last. */
export const volumeObservationSchema = z.object({
  volumeId: z.uuid(),
  /** As of which epoch; what is of another one is void. */
  epoch: z.int().min(0),
  state: z.enum(["ready", "missing", "deleted"]),
  sizeGiB: z.int().min(0),
  /** Why what was to be done with its snapshots could not be done. */
  problem: z.string().max(limits.placementLengthMax).exactOptional(),
  /** What the snapshot shows that was made. */
  shows: snapshotShowsSchema.exactOptional(),
});
export type VolumeObservation = Readonly<z.infer<typeof volumeObservationSchema>>;

const observed = { nodeId: nodeIdSchema, observations: z.array(volumeObservationSchema).max(limits.volumesMax) };

export const volumeCommands = {
  ...volumeMoveCommands,
  "volume.create": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({
      name: nameSchema,
      volumeId: z.uuid(),
      sizeGiB: sizeSchema,
      kind: volumeKindSchema,
      node: nodeIdSchema,
      /** The volume that it is to be a copy of. */
      source: nameSchema.exactOptional(),
      /** It is to hold what has this digest, which is sent to its node. */
      importDigest: digestSchema.exactOptional(),
    }),
  }),
  "volume.resize": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({ name: nameSchema, sizeGiB: sizeSchema }),
  }),
  "volume.snapshot": command({
    since: 3,
    subject: ({ name, snapshot }) => `${name} ${snapshot}`,
    body: z.object({
      name: nameSchema,
      snapshot: nameSchema,
      verb: z.enum(["create", "restore", "delete"]),
      /** Of a new one. */
      snapshotId: z.uuid().exactOptional(),
    }),
  }),
  "volume.delete": command({ since: 3, subject: ({ name }) => name, body: z.object({ name: nameSchema }) }),
  "volume.observe": command({ since: 3, subject: ({ nodeId }) => nodeId, body: z.object(observed) }),
};

const byName = z.object({ name: nameSchema }).strict();
const bySnapshot = z.object({ name: nameSchema, snapshot: nameSchema }).strict();
const volumeWritten = writtenSchema.extend({ volume: volumeRecordSchema });

export const volumeMethods = {
  ...volumeMoveMethods,
  "volume.list": method({
    summary: "all volumes",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/volumes" }],
    client: { group: "volumes", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(volumeRecordSchema),
  }),
  "volume.get": method({
    summary: "one volume",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/volumes/{name}" }],
    client: { group: "volumes", name: "get", args: ["name"] },
    request: byName,
    response: volumeRecordSchema,
  }),
  "volume.create": method({
    summary: "make a volume on a node, empty or as a copy of another one there",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/volumes", successStatus: 201, merged: "volume" }],
    client: { group: "volumes", name: "create", args: "request" },
    request: z
      .object({
        name: nameSchema,
        sizeGiB: sizeSchema,
        kind: volumeKindSchema.default("local"),
        /** Default: one that the leader chooses. */
        node: nodeIdSchema.exactOptional(),
        source: nameSchema.describe("the volume that it is to be a copy of; no VM may run with that").exactOptional(),
        importDigest: digestSchema
          .describe("it is imported: the digest of the blocks that are written to it, with their places")
          .exactOptional(),
      })
      .strict(),
    response: volumeWritten,
  }),
  "volume.resize": method({
    summary: "make a volume larger, also while a VM runs with it",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "PATCH", path: "/v1/volumes/{name}", merged: "volume" }],
    client: { group: "volumes", name: "resize", args: "request" },
    request: z.object({ name: nameSchema, sizeGiB: sizeSchema }).strict(),
    response: volumeWritten,
  }),
  "volume.delete": method({
    summary: "delete a volume that no VM has, with all that is on it",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "DELETE", path: "/v1/volumes/{name}", merged: "volume" }],
    client: { group: "volumes", name: "delete", args: ["name"] },
    request: byName,
    response: volumeWritten,
  }),
  "volume.createSnapshot": method({
    summary: "keep what is on a volume, also while a VM runs with it",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/volumes/{name}/snapshots", successStatus: 201, merged: "volume" }],
    client: { group: "volumes", name: "createSnapshot", args: ["name", "snapshot"] },
    request: bySnapshot,
    response: volumeWritten,
  }),
  "volume.restoreSnapshot": method({
    summary: "give a volume that no VM runs with what a snapshot kept; what it has now is lost",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/volumes/{name}/snapshots/{snapshot}/restore", merged: "volume" }],
    client: { group: "volumes", name: "restoreSnapshot", args: ["name", "snapshot"] },
    request: bySnapshot,
    response: volumeWritten,
  }),
  "volume.deleteSnapshot": method({
    summary: "delete a snapshot of a volume",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "DELETE", path: "/v1/volumes/{name}/snapshots/{snapshot}", merged: "volume" }],
    client: { group: "volumes", name: "deleteSnapshot", args: ["name", "snapshot"] },
    request: bySnapshot,
    response: volumeWritten,
  }),
  /** Zeros are left out: what comes may begin later than was asked for. */
  "volume.read": method({
    summary: "a piece of a volume that no VM runs with, without zeros before it",
    since: 3,
    place: "owner",
    owned: "volume",
    access: "operator",
    writes: false,
    http: [{ verb: "GET", path: "/v1/volumes/{name}/bytes" }],
    client: { group: "volumes", name: "read", args: "request" },
    request: z
      .object({
        name: nameSchema,
        offset: z.int().min(0).default(0),
        bytesMax: z.int().min(1).max(limits.blobPieceBytesMax).default(limits.blobPieceBytesMax),
      })
      .strict(),
    response: z.object({
      offset: z.int().min(0).describe("of the first byte that is given; only zeros lie before it"),
      data: z.string().describe("in base64; empty when only zeros were found up to offset"),
      endOffset: z.int().min(0).describe("the length of the whole"),
      version: z.string().describe("another one when the volume was changed meanwhile"),
    }),
  }),
  "volume.write": method({
    summary: "a piece of a volume that is being imported; one without bytes says how far it is",
    since: 3,
    place: "owner",
    owned: "volume",
    access: "operator",
    writes: false,
    http: [{ verb: "POST", path: "/v1/volumes/{name}/bytes" }],
    client: { group: "volumes", name: "write", args: "request" },
    request: z
      .object({
        name: nameSchema,
        offset: z.int().min(0).describe("a multiple of 64 KiB, and not before what is there").default(0),
        data: base64Of(limits.blobPieceBytesMax).describe("in base64").default(""),
        last: z.boolean().describe("all of it was sent: it is checked, and becomes the volume").default(false),
      })
      .strict(),
    response: z.object({ storedBytes: z.int().min(0).describe("where it goes on") }),
  }),
  "volume.observe": method({
    summary: "what the node of volumes saw of them",
    since: 3,
    place: "leader",
    access: "node",
    writes: true,
    request: z.object(observed).strict(),
    response: writtenSchema,
  }),
};
