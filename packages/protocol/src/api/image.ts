/** Images that VMs boot, and the blobs that they consist of. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { listSchema, pageSchema } from "./list.ts";
import { digestSchema, nodeIdSchema, writtenSchema } from "./values.ts";

/** Image names may carry one namespace, for example `builtin/nano`. */
export const imageNameSchema = z
  .string()
  .min(1)
  .max(2 * limits.nameLengthMax + 1)
  .regex(
    /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?(\/[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?$/,
    "use lower-case letters, digits, dots and dashes, with at most one slash",
  );

/**
 * `multiboot`: one ELF kernel; `linux`: bzImage with optional initrd; `disk`: a raw or qcow2 disk that boots; `iso`: what lies
 * in a CD-ROM drive.
 */
export const imageFormatSchema = z.enum(["multiboot", "linux", "disk", "iso"]).meta({ sinceValue: { iso: 3 } });
export type ImageFormat = z.infer<typeof imageFormatSchema>;

export const imageBlobSchema = z.object({
  role: z.enum(["kernel", "initrd", "disk", "iso"]).meta({ sinceValue: { iso: 3 } }),
  digest: digestSchema,
  sizeBytes: z.int().min(1).max(limits.imageBlobBytesMax),
  /** Of a disk: what it is read as, whatever its first bytes look like. Images of before level 3 have none. */
  format: z.enum(["raw", "qcow2"]).meta({ since: 3 }).exactOptional(),
});
export type ImageBlob = z.infer<typeof imageBlobSchema>;

/** The part without which an image of this format is none. */
export function mainRoleOf(format: ImageFormat): ImageBlob["role"] {
  return format === "disk" || format === "iso" ? format : "kernel";
}

export const blobsSchema = z.array(imageBlobSchema).min(1).max(3);

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
  /** Nodes that hold all blobs. Below level 3: that held them when the record was written. */
  sources: z.array(nodeIdSchema).max(limits.nodesMax),
  createdUnixMs: z.int().min(0),
  /** It is neither removed nor collected. Absent: no. */
  pinned: z.boolean().meta({ since: 3 }).exactOptional(),
});
export type ImageRecord = z.infer<typeof imageRecordSchema>;

const namesSchema = z.array(imageNameSchema).max(limits.imagesMax);
const observed = { nodeId: nodeIdSchema, held: namesSchema, lost: namesSchema };

export const imageCommands = {
  "image.put": command({
    since: 1,
    subject: ({ image }) => image.name,
    body: z.object({ image: imageRecordSchema }),
  }),
  "image.remove": command({ since: 1, subject: ({ name }) => name, body: z.object({ name: imageNameSchema }) }),
  "image.pin": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({ name: imageNameSchema, pinned: z.boolean() }),
  }),
  /** What a node says of itself: which images it holds since it said so last, and which it does not hold any more. */
  "image.observe": command({ since: 3, subject: ({ nodeId }) => nodeId, body: z.object(observed) }),
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
  "image.pin": method({
    summary: "keep an image, or keep it no longer, whatever is collected",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/images/{name}/pin", merged: "image" }],
    client: { group: "images", name: "pin", args: ["name", "pinned"] },
    request: z.object({ name: imageNameSchema, pinned: z.boolean() }).strict(),
    response: writtenSchema.extend({ image: imageRecordSchema }),
  }),
  "image.collect": method({
    summary: "let blobs go that no image names, and images that no VM uses where that is asked for",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/blobs/collect" }],
    client: { group: "images", name: "collect", args: "request" },
    request: z
      .object({
        dryRun: z.boolean().default(false),
        /** First forgets the images that no VM uses and that are not pinned. */
        unused: z.boolean().default(false),
        /** Only what is older: an upload that is not named yet is younger. */
        minAgeMs: z.int().min(0).default(3_600_000),
      })
      .strict(),
    response: z.object({
      index: z.int(),
      term: z.int(),
      images: namesSchema,
      nodes: z.array(
        z.object({
          nodeId: nodeIdSchema,
          blobs: z.array(z.object({ digest: digestSchema, sizeBytes: z.int().min(0) })),
          /** Why it could not be asked; empty when it was. */
          message: z.string(),
        }),
      ),
    }),
  }),
  "image.observe": method({
    summary: "which images a node holds",
    since: 3,
    place: "leader",
    access: "node",
    writes: true,
    request: z.object(observed).strict(),
    response: writtenSchema,
  }),
};
