/** Signatures without keys, for tests and simulations whose nodes have made-up endpoint ids. */
import { createHash } from "node:crypto";
import { bytesEqual, concatBytes, fromUtf8 } from "@blixard/common";
import type { NodeSignatures } from "../ports/node-signatures.ts";

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash("sha256").update(bytes).digest());

/** Signatures that only who knows the made-up key can make, as long as everybody uses their own. */
export function madeUpSignatures(endpointId: string): NodeSignatures {
  const signatureOf = (signer: string, message: Uint8Array) => {
    const half = sha256(concatBytes([fromUtf8(signer), message]));
    return concatBytes([half, half]);
  };
  return {
    sign: (message) => signatureOf(endpointId, message),
    verify: (signer, message, signature) => bytesEqual(signatureOf(signer, message), signature),
  };
}
