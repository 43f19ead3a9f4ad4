/** `POST /v1/blobs`: streams the body into the image store of this node; memory use does not grow with the blob. */
import type { IncomingMessage } from "node:http";
import { BlixardError } from "@blixard/common";
import { limits } from "@blixard/protocol";
import { addNodeRoute, type RouteContext } from "./route-context.ts";

export function addBlobRoute(context: RouteContext): void {
  addNodeRoute(context, "uploadBlob", async (request) => {
    const { digest, sizeBytes } = await context.deps.blobs().put(chunksOf(request.env.incoming));
    return request.json({ digest, sizeBytes, nodeId: context.deps.nodeId }, 201);
  });
}

async function* chunksOf(incoming: IncomingMessage): AsyncIterable<Uint8Array> {
  let length = 0;
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
