/** `TicketCrypto` on node:crypto, for tests. The one of nodes is in the package identity, which this package does not use. */
import { createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { concatBytes, fromHex, toHex } from "@blixard/common";
import type { TicketCrypto } from "@blixard/protocol";

/** What stands before the 32 bytes of an Ed25519 key in PKCS #8 and in SPKI (RFC 8410). */
const [pkcs8Prefix, spkiPrefix] = ["302e020100300506032b657004220420", "302a300506032b6570032100"];

const privateKey = (seed: Uint8Array) =>
  createPrivateKey({ key: Buffer.from(concatBytes([bytesOf(pkcs8Prefix), seed])), format: "der", type: "pkcs8" });
const publicKey = (hex: string) =>
  createPublicKey({ key: Buffer.from(bytesOf(spkiPrefix + hex)), format: "der", type: "spki" });
const bytesOf = (hex = "") => fromHex(hex) ?? new Uint8Array();

export const ticketCrypto: TicketCrypto = {
  sha256: (bytes) => new Uint8Array(createHash("sha256").update(bytes).digest()),
  publicKeyOf: (seed) => {
    const spki = createPublicKey(privateKey(seed)).export({ format: "der", type: "spki" });
    return toHex(spki.subarray(spki.length - 32));
  },
  sign: (seed, message) => new Uint8Array(sign(null, message, privateKey(seed))),
  verify: (key, message, signature) => verify(null, message, publicKey(key), signature),
};
