/** Reads pieces of image blobs from the nodes that hold them: the `fetchBlob` of the VM manager. */
import { BlixardError, type Random } from "@blixard/common";
import { decodeServiceResponse, encodeServiceCall, methods } from "@blixard/protocol";
import type { FetchBlob } from "@blixard/vm-manager";
import type { ClusterTransport } from "./cluster-transport.ts";
import { randomRequestId } from "./ids.ts";

const pieceTimeoutMs = 10_000;

/** Asks the sources in turn and takes the first answer; the VM manager checks the digest of the whole. */
export function createBlobFetcher(transport: Pick<ClusterTransport, "call">, random: Random): FetchBlob {
  return async (blob, offset, bytesMax, signal) => {
    let last: unknown = new BlixardError("NOT_FOUND", `no node is known to hold the blob ${blob.digest}`);
    for (const source of blob.sources) {
      try {
        return await readPiece(transport, random, source, { digest: blob.digest, offset, bytesMax }, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        last = error;
      }
    }
    throw last;
  };
}

async function readPiece(
  transport: Pick<ClusterTransport, "call">,
  random: Random,
  source: number,
  request: { readonly digest: string; readonly offset: number; readonly bytesMax: number },
  signal: AbortSignal,
): Promise<Uint8Array> {
  // Actor and access are what the other side makes of the key of this connection.
  const meta = {
    requestId: randomRequestId(random),
    actor: { kind: "node", id: "" },
    access: "node",
    timeoutMs: pieceTimeoutMs,
    stale: false,
    hops: 0,
  } as const;
  const payload = encodeServiceCall({ name: "blob.read", request, meta });
  const bytes = await transport.call(source, "blob.read", payload, { timeoutMs: pieceTimeoutMs, signal });
  const parsed = methods["blob.read"].response.safeParse(decodeServiceResponse(bytes));
  if (parsed.success) return parsed.data.data;
  throw new BlixardError("FRAME_CORRUPT", `node ${source} answered blob.read with something else`);
}
