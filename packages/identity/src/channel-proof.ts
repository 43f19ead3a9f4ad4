/**
 * Proof of a node's key inside a TLS connection whose certificate is of another key: a signature over a secret that only
 * the two ends of this very connection share (exported keying material, RFC 8446 section 7.5, RFC 9266). It is of no use
 * on any other connection, so it cannot be replayed or passed on.
 */
import { sign } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { concatBytes, fromUtf8 } from "@blixard/common";
import { privateKeyOfSeed } from "./ed25519.ts";
import { isSignedBy } from "./signatures.ts";

/** The side that signs: a proof of one side is not valid as a proof of the other. */
export type ProofSide = "client" | "server";

const exporterLabel = "EXPORTER-blixard-node-key";
const exportedBytes = 32;

/** 64 bytes. */
export function proveKey(socket: TLSSocket, seed: Uint8Array, side: ProofSide): Uint8Array {
  return new Uint8Array(sign(null, statement(socket, side), privateKeyOfSeed(seed)));
}

/** True when `proof` was made by the holder of the key on the other end of this connection. */
export function provesKey(socket: TLSSocket, endpointId: string, proof: Uint8Array, side: ProofSide): boolean {
  try {
    return isSignedBy(endpointId, statement(socket, side), proof);
  } catch {
    // A connection that is gone.
    return false;
  }
}

function statement(socket: TLSSocket, side: ProofSide): Uint8Array {
  const exported = socket.exportKeyingMaterial(exportedBytes, exporterLabel, Buffer.alloc(0));
  return concatBytes([fromUtf8(`blixard/node-key/1 ${side} `), new Uint8Array(exported)]);
}
