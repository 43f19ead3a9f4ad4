/** Blobs: what images consist of, in the image stores of nodes. People send them, and read them back, in pieces. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { method } from "./definitions.ts";
import { blobsSchema, imageFormatSchema } from "./image.ts";
import { bytesSchema, digestSchema, nodeIdSchema } from "./values.ts";

/** What the sender of a blob says of it beforehand. */
export const blobPromiseSchema = {
  /** Its digest. The node then keeps what it has of an upload that breaks off, which goes on from there. */
  digest: digestSchema.meta({ since: 3 }).exactOptional(),
  /** The length of the whole: a node without room for it refuses before it stores anything. */
  sizeBytes: z.int().min(1).max(limits.imageBlobBytesMax).meta({ since: 3 }).exactOptional(),
  /** A raw disk, although nothing in it shows that it is one. */
  raw: z.boolean().meta({ since: 3 }).exactOptional(),
};

export const blobMethods = {
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
        ...blobPromiseSchema,
      })
      .strict(),
    response: z.object({ digest: digestSchema.nullable(), sizeBytes: z.int(), nodeId: nodeIdSchema }),
  }),
  /** The same again says how far it is; the last answer says the digest. It ends when nobody asks for it any more. */
  "blob.fetch": method({
    summary: "let the node that is asked fetch a blob from a URL of the public Internet",
    since: 3,
    place: "local",
    access: "admin",
    writes: false,
    http: [{ verb: "POST", path: "/v1/blobs/fetch" }],
    client: { group: "images", name: "fetchBlob", args: "request" },
    request: z
      .object({
        url: z.string().min(1).max(limits.blobUrlLengthMax),
        digest: digestSchema.exactOptional(),
        raw: z.boolean().exactOptional(),
      })
      .strict(),
    response: z.object({
      nodeId: nodeIdSchema,
      receivedBytes: z.int().min(0),
      /** Null where the server does not say. */
      sizeBytes: z.int().min(0).nullable(),
      /** Null until all of it is here. */
      digest: digestSchema.nullable(),
    }),
  }),
  "blob.stat": method({
    summary: "how much of a blob the node that is asked has",
    since: 3,
    place: "local",
    access: "operator",
    writes: false,
    http: [{ verb: "GET", path: "/v1/blobs/{digest}" }],
    client: { group: "images", name: "statBlob", args: ["digest"] },
    request: z.object({ digest: digestSchema }).strict(),
    response: z.object({ nodeId: nodeIdSchema, isWhole: z.boolean(), storedBytes: z.int().min(0) }),
  }),
  /** A node that does not hold it passes the call on to one that does. */
  "blob.read": method({
    summary: "a piece of a blob of an image",
    since: 3,
    place: "local",
    access: "operator",
    writes: false,
    http: [{ verb: "GET", path: "/v1/blobs/{digest}/bytes", bytes: "response" }],
    client: { group: "images", name: "readBlob", args: "request" },
    request: z
      .object({
        digest: digestSchema,
        offset: z.int().min(0).default(0),
        bytesMax: z.int().min(1).max(limits.blobPieceBytesMax).default(limits.blobPieceBytesMax),
      })
      .strict(),
    /** `endOffset`: the length of the whole. */
    response: z.object({ offset: z.int(), data: bytesSchema, endOffset: z.int() }),
  }),
  "blob.inspect": method({
    summary: "whether blobs that the node holds are what an image of them says",
    since: 3,
    place: "local",
    access: "node",
    writes: false,
    request: z.object({ format: imageFormatSchema, blobs: blobsSchema }).strict(),
    /** As they were given, a disk with the format that it is read as. */
    response: z.object({ blobs: blobsSchema }),
  }),
  "blob.collect": method({
    summary: "let blobs go that no image names",
    since: 3,
    place: "local",
    access: "node",
    writes: false,
    request: z
      .object({
        /** They are not named by the state as of this entry, or of a later one. */
        index: z.int().min(0),
        minAgeMs: z.int().min(0),
        dryRun: z.boolean(),
      })
      .strict(),
    response: z.object({
      blobs: z.array(z.object({ digest: digestSchema, sizeBytes: z.int().min(0) })).max(limits.blobsCollectedMax),
    }),
  }),
};
