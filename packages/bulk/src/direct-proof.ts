/**
 * With an operator's CA the certificates of a direct connection say only that the CA knows both sides. Which nodes they are,
 * each proves with its key inside the connection, before anything else is asked for: the first request carries the proof of
 * the receiver in its path, and the answer is the proof of the source.
 */
import type { TLSSocket } from "node:tls";
import { BlixardError, fromHex, toHex } from "@blixard/common";
import { type NodeTls, refusalOf } from "@blixard/identity";
import { bulkLimits } from "./bulk-limits.ts";
import type { BulkChannel } from "./bulk-types.ts";

const pathPattern = /^\/1\/key\/([0-9a-f]{64})\/([0-9a-f]{128})$/;

/** @throws UNKNOWN_PEER when the source does not prove the key of `endpointId`, and the errors of a request */
export async function proveAtSource(
  channel: BulkChannel,
  { tls, socket, endpointId }: { readonly tls: NodeTls; readonly socket: TLSSocket; readonly endpointId: string },
  signal: AbortSignal,
): Promise<void> {
  const own = tls.prove(socket, "client");
  const { stallMs } = bulkLimits;
  const path = `/1/key/${own.endpointId}/${toHex(own.proof)}`;
  const proof = await channel.request(path, { bytesMax: bulkLimits.keyProofBytesMax, stallMs, signal });
  if (tls.identify(socket, "server", { endpointId, proof }) === endpointId) return;
  throw socket.authorized
    ? new BlixardError("UNKNOWN_PEER", `another node than ${endpointId.slice(0, 10)} answers there`)
    : refusalOf(tls, socket);
}

/** The key that a request for `path` proves. Undefined for every other path, and for a proof that does not hold. */
export function provedBy(path: string, tls: NodeTls, socket: TLSSocket): string | undefined {
  const [, endpointId, hex = ""] = pathPattern.exec(path) ?? [];
  const proof = fromHex(hex);
  if (endpointId === undefined || proof === undefined) return undefined;
  return tls.identify(socket, "client", { endpointId, proof });
}
