/** Images that VMs boot, and the blobs that they consist of. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { listSchema, pageSchema } from "./list.ts";
import { bytesSchema, digestSchema, nodeIdSchema, writtenSchema } from "./values.ts";

/** Image names may carry one namespace, for example `builtin/nano`. */
export const imageNameSchema = z
  .string()
  .min(1)
  .max(2 * limits.nameLengthMax + 1)
  .regex(
    /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?(\/[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?$/,
    "use lower-case letters, digits, dots and dashes, with at most one slash",
  );

/** `multiboot`: one ELF kernel; `linux`: bzImage with optional initrd; `disk`: a raw or qcow2 disk that boots. */
export const imageFormatSchema = z.enum(["multiboot", "linux", "disk"]);
export type ImageFormat = z.infer<typeof imageFormatSchema>;

export const imageBlobSchema = z.object({
  role: z.enum(["kernel", "initrd", "disk"]),
  digest: digestSchema,
  sizeBytes: z.int().min(1).max(limits.imageBlobBytesMax),
});
export type ImageBlob = z.infer<typeof imageBlobSchema>;

const blobsSchema = z.array(imageBlobSchema).min(1).max(3);

export const imageRecordSchema = z.object({
  name: imageNameSchema,
  format: imageFormatSchema,
  /** Built-in images are made by every node itself and need no transfer. */
  builtin: z.boolean(),
  blobs: blobsSchema,
  /** Kernel command line: printable ASCII without comma. */
  commandLine: z
    .string()
    .max(1_024)
    .regex(/^[\x20-\x2b\x2d-\x7e]*$/, "use printable ASCII without commas"),
  minMemoryMiB: z.int().min(0),
  /** Nodes that held all blobs when the record was written. */
  sources: z.array(nodeIdSchema).max(limits.nodesMax),
  createdUnixMs: z.int().min(0),
});
export type ImageRecord = z.infer<typeof imageRecordSchema>;

export const imageCommands = {
  "image.put": command({
    since: 1,
    subject: ({ image }) => image.name,
    body: z.object({ image: imageRecordSchema }),
  }),
  "image.remove": command({ since: 1, subject: ({ name }) => name, body: z.object({ name: imageNameSchema }) }),
};

const byName = z.object({ name: imageNameSchema }).strict();

export const imageMethods = {
  "image.list": method({
    summary: "all images",
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/images" }],
    client: { group: "images", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(imageRecordSchema),
  }),
  "image.get": method({
    summary: "one image",
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/images/{name}" }],
    client: { group: "images", name: "get", args: ["name"] },
    request: byName,
    response: imageRecordSchema,
  }),
  "image.put": method({
    summary: "name blobs that a node holds as an image",
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/images", successStatus: 201, merged: "image" }],
    client: { group: "images", name: "put", args: "request" },
    request: z
      .object({
        name: imageNameSchema,
        format: imageFormatSchema,
        blobs: blobsSchema,
        commandLine: imageRecordSchema.shape.commandLine.default(""),
        minMemoryMiB: z.int().min(0).default(0),
        sources: z.array(nodeIdSchema).min(1),
      })
      .strict(),
    response: writtenSchema.extend({ image: imageRecordSchema }),
  }),
  "image.remove": method({
    summary: "forget an image",
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "DELETE", path: "/v1/images/{name}" }],
    client: { group: "images", name: "remove", args: ["name"] },
    request: byName,
    response: writtenSchema,
  }),
  /** A piece of a blob for the image store of this node; pieces follow one another, and the last one answers the digest. */
  "blob.write": method({
    summary: "a piece of a blob for the image store of the node that is asked",
    place: "local",
    access: "operator",
    writes: false,
    request: z
      .object({
        /** Chosen by the caller. */
        uploadId: z.string().regex(/^[0-9a-f]{32}$/),
        offset: z.int().min(0),
        data: bytesSchema.refine((data) => data.length <= limits.blobPieceBytesMax, "the piece is too large"),
        last: z.boolean(),
      })
      .strict(),
    response: z.object({ digest: digestSchema.nullable(), sizeBytes: z.int(), nodeId: nodeIdSchema }),
  }),
};
