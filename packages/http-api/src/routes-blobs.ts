/**
 * `POST /v1/blobs`: streams the body into the image store of this node; memory use does not grow with the blob. The query
 * may say what comes (`digest`, `sizeBytes`, `raw`), and where it begins (`offset`) when an upload goes on.
 */
import type { IncomingMessage } from "node:http";
import { BlixardError, notApplied } from "@blixard/common";
import { blobPromiseSchema, limits } from "@blixard/protocol";
import { z } from "zod";
import { jsonAnswer } from "./exchange.ts";
import type { BlobPromise } from "./node-service.ts";
import { addNodeRoute, type RouteContext } from "./route-context.ts";

const querySchema = z.strictObject({
  digest: blobPromiseSchema.digest,
  sizeBytes: z.coerce.number().pipe(blobPromiseSchema.sizeBytes.unwrap()).optional(),
  raw: z.enum(["true", "false"]).optional(),
  offset: z.coerce.number().pipe(z.int().min(0).max(limits.imageBlobBytesMax)).optional(),
});

export function addBlobRoute(context: RouteContext): void {
  addNodeRoute(context, "uploadBlob", async (exchange) => {
    const promise = promiseOf(exchange.queryFields());
    const chunks = chunksOf(exchange.incoming, promise.offset ?? 0);
    const { digest, sizeBytes } = await context.deps.blobs().put(chunks, promise);
    return jsonAnswer({ digest, sizeBytes, nodeId: context.deps.nodeId }, 201);
  });
}

/** @throws INVALID_ARGUMENT */
function promiseOf(query: Readonly<Record<string, string>>): BlobPromise {
  const parsed = querySchema.safeParse(query);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw notApplied("INVALID_ARGUMENT", `${issue?.path.join(".") ?? "query"}: ${issue?.message ?? "it is wrong"}`);
  }
  const { digest, sizeBytes, raw, offset } = parsed.data;
  return {
    ...(digest === undefined ? {} : { digest }),
    ...(sizeBytes === undefined ? {} : { wholeBytes: sizeBytes }),
    ...(raw === undefined ? {} : { raw: raw === "true" }),
    ...(offset === undefined ? {} : { offset }),
  };
}

async function* chunksOf(incoming: IncomingMessage, offset: number): AsyncIterable<Uint8Array> {
  let length = offset;
  for await (const piece of incoming) {
    const bytes = piece as Buffer;
    length += bytes.length;
    if (length > limits.imageBlobBytesMax) {
      throw new BlixardError("VALUE_TOO_LARGE", `a blob has at most ${limits.imageBlobBytesMax} bytes`);
    }
    yield bytes;
  }
  if (length === 0)
    throw new BlixardError("INVALID_ARGUMENT", "the blob is empty", { hint: "Send its bytes as the body." });
}
