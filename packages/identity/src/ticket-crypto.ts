/** What showing and checking tickets needs of cryptography. */
import { hash, sign } from "node:crypto";
import type { TicketCrypto } from "@blixard/protocol";
import { endpointIdOfSeed, privateKeyOfSeed } from "./ed25519.ts";
import { isSignedBy } from "./signatures.ts";

export const ticketCrypto: TicketCrypto = {
  sha256: (bytes) => new Uint8Array(hash("sha256", bytes, "buffer")),
  publicKeyOf: endpointIdOfSeed,
  sign: (seed, message) => new Uint8Array(sign(null, message, privateKeyOfSeed(seed))),
  verify: isSignedBy,
};
