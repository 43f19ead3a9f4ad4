/** The methods of blobs: what people send to the image store of a node, read back from it, and what nodes ask of each other. */
import { BlixardError } from "@blixard/common";
import type { ParsedRequestOf, ResponseOf } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { holdersOf } from "../state-machine/image.ts";
import { sortedRecords } from "../state-machine/state.ts";
import { BlobUploads } from "./blob-uploads.ts";
import { collectHere } from "./image.ts";
import { UrlFetches } from "./url-fetches.ts";

/** What these methods use of the node. */
type BlobParts = Pick<NodeParts, "clock" | "options" | "vmManager" | "stateMachine" | "peerCalls">;

type BlobMethods = "blob.write" | "blob.fetch" | "blob.stat" | "blob.read" | "blob.inspect" | "blob.collect";

export function blobHandlers(parts: BlobParts): Pick<Handlers, BlobMethods> {
  const { images } = parts.vmManager;
  const { nodeId } = parts.options;
  const uploads = new BlobUploads(parts.clock, (chunks, promise) => images.put(chunks, promise));
  const urlFetches = new UrlFetches(parts.clock, images);
  return {
    "blob.write": async (piece, { meta }) => ({
      ...(await uploads.write(`${meta.actor.kind}/${meta.actor.id}`, piece)),
      nodeId,
    }),
    "blob.fetch": async (request, { meta, signal }) => ({
      nodeId,
      ...(await urlFetches.ask(`${meta.actor.kind}/${meta.actor.id}`, request, signal)),
    }),
    "blob.stat": async ({ digest }) => ({ nodeId, ...(await images.stat(digest)) }),
    "blob.read": (request, call) => read(parts, request, call),
    "blob.inspect": async ({ format, blobs }) => ({ blobs: await images.inspect(format, blobs) }),
    "blob.collect": (request, { signal }) => collectHere(parts, request, signal),
  };
}

async function read(
  parts: BlobParts,
  request: ParsedRequestOf<"blob.read">,
  call: CallScope,
): Promise<ResponseOf<"blob.read">> {
  const { digest, offset, bytesMax } = request;
  const blob = await parts.vmManager.images.find(digest);
  if (blob !== undefined) {
    const { sizeBytes } = blob;
    const length = Math.min(bytesMax, Math.max(0, sizeBytes - offset));
    return { offset, data: await blob.read(offset, length), endOffset: sizeBytes };
  }
  const { state } = parts.stateMachine;
  const image = sortedRecords(state, "images").find(({ blobs }) =>
    blobs.some((candidate) => candidate.digest === digest),
  );
  const holders = image === undefined ? [] : holdersOf(state, image).filter((id) => id !== parts.options.nodeId);
  let refusal: unknown = new BlixardError("NOT_FOUND", `no node is known to hold the blob ${digest}`);
  // A node that was asked by another one asks nobody.
  for (const holder of call.meta.hops > 0 ? [] : holders) {
    try {
      return await parts.peerCalls.forward(holder, "blob.read", request, call, call.meta.timeoutMs);
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}
