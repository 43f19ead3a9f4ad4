/**
 * Signatures of a node's key over statements that travel without the node (Ed25519, RFC 8032). Who signs puts a text in
 * front that only statements of one kind have: the same key also proves connections.
 */
import { createPublicKey, sign, verify } from "node:crypto";
import { concatBytes, fromHex } from "@blixard/common";
import { privateKeyOfSeed } from "./ed25519.ts";

export interface Signatures {
  /** 64 bytes, of the key of this node. */
  sign(message: Uint8Array): Uint8Array;
  /** True when the holder of the key `endpointId` has signed the message. Never throws. */
  verify(endpointId: string, message: Uint8Array, signature: Uint8Array): boolean;
}

const publicKeyBytes = 32;
/** Everything of an SPKI public key but the 32 bytes themselves (RFC 8410, section 4). */
const spkiPrefix = fromHex("302a300506032b6570032100") ?? new Uint8Array();

export function createSignatures(seed: Uint8Array): Signatures {
  const own = privateKeyOfSeed(seed);
  return { sign: (message) => new Uint8Array(sign(null, message, own)), verify: isSignedBy };
}

export function isSignedBy(endpointId: string, message: Uint8Array, signature: Uint8Array): boolean {
  const bytes = fromHex(endpointId);
  if (bytes?.length !== publicKeyBytes) return false;
  try {
    const key = createPublicKey({ key: Buffer.from(concatBytes([spkiPrefix, bytes])), format: "der", type: "spki" });
    return verify(null, message, key, signature);
  } catch {
    // Bytes that are no point of the curve, or no signature.
    return false;
  }
}
