/**
 * Signatures of a node's key over statements that travel without the node (Ed25519, RFC 8032). Who signs puts a text in
 * front that only statements of one kind have: the same key also proves connections.
 */
import { sign, verify } from "node:crypto";
import { privateKeyOfSeed, publicKeyOfEndpointId } from "./ed25519.ts";

export interface Signatures {
  /** 64 bytes, of the key of this node. */
  sign(message: Uint8Array): Uint8Array;
  /** True when the holder of the key `endpointId` has signed the message. Never throws. */
  verify(endpointId: string, message: Uint8Array, signature: Uint8Array): boolean;
}

export function createSignatures(seed: Uint8Array): Signatures {
  const own = privateKeyOfSeed(seed);
  return { sign: (message) => new Uint8Array(sign(null, message, own)), verify: isSignedBy };
}

export function isSignedBy(endpointId: string, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, message, publicKeyOfEndpointId(endpointId), signature);
  } catch {
    // Bytes that are no key, no point of the curve, or no signature.
    return false;
  }
}
