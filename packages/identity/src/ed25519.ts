/** Ed25519 keys (RFC 8032, RFC 8410) as node:crypto takes them. */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { assert, concatBytes, fromHex, toHex } from "@blixard/common";

export const seedBytes = 32;

/** Everything of a PKCS #8 private key but the seed (RFC 8410, section 7). */
const pkcs8Prefix = fromHex("302e020100300506032b657004220420") ?? new Uint8Array();
/** Everything of an SPKI public key but the 32 bytes themselves (RFC 8410). */
const spkiPrefix = fromHex("302a300506032b6570032100") ?? new Uint8Array();

export function privateKeyOfSeed(seed: Uint8Array): KeyObject {
  assert(seed.length === seedBytes, "an Ed25519 seed has 32 bytes");
  const key = Buffer.from(concatBytes([pkcs8Prefix, seed]));
  return createPrivateKey({ key, format: "der", type: "pkcs8" });
}

export function publicKeyOfSeed(seed: Uint8Array): Uint8Array {
  const bytes = ed25519PublicBytes(createPublicKey(privateKeyOfSeed(seed)));
  assert(bytes !== undefined, "an Ed25519 key has a public half");
  return bytes;
}

/** The endpoint id of a node: its public key, 64 hexadecimal digits. */
export function endpointIdOfSeed(seed: Uint8Array): string {
  return toHex(publicKeyOfSeed(seed));
}

/** The key with this endpoint id. @throws what node:crypto throws for bytes that are no point of the curve */
export function publicKeyOfEndpointId(endpointId: string): KeyObject {
  const key = Buffer.from(concatBytes([spkiPrefix, fromHex(endpointId) ?? new Uint8Array()]));
  return createPublicKey({ key, format: "der", type: "spki" });
}

/** The 32 bytes of a public key, or undefined when it is of another kind. */
export function ed25519PublicBytes(key: KeyObject): Uint8Array | undefined {
  if (key.asymmetricKeyType !== "ed25519") return undefined;
  const { x } = key.export({ format: "jwk" });
  return x === undefined ? undefined : new Uint8Array(Buffer.from(x, "base64url"));
}
