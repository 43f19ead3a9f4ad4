/**
 * Seals secrets to the keys of nodes. The secret is under a random key (AES-256-GCM); that key is wrapped for each holder by
 * a Diffie-Hellman of one ephemeral X25519 key with the holder's, from which HKDF makes a key that is used once. The
 * Ed25519 key of a node is taken as an X25519 key as RFC 7748 maps one curve to the other, so that a node publishes no second
 * key which others would have to believe.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hash,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { assert, concatBytes, fromHex, fromUtf8, toHex } from "@blixard/common";
import { endpointIdOfSeed } from "./ed25519.ts";

export interface Sealed {
  /** Base64 of nonce, text and tag. */
  readonly data: string;
  readonly ephemeralKey: string;
  readonly keys: { endpointId: string; wrapped: string }[];
}

export interface Sealing {
  seal(secret: Uint8Array, context: string, endpointIds: readonly string[]): Sealed;
  reseal(sealed: Sealed, context: string, endpointIds: readonly string[]): Sealed | undefined;
  open(sealed: Sealed, context: string): Uint8Array | undefined;
}

const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const purpose = "blixard sealed secret 1";
/** Everything of the PKCS #8 and SPKI form of an X25519 key but its 32 bytes (RFC 8410). */
const pkcs8Prefix = fromHex("302e020100300506032b656e04220420") ?? new Uint8Array();
const spkiPrefix = fromHex("302a300506032b656e032100") ?? new Uint8Array();

export function createSealing(seed: Uint8Array): Sealing {
  const own = { endpointId: endpointIdOfSeed(seed), key: x25519OfSeed(seed) };
  const contentKey = (sealed: Sealed, context: string): Uint8Array | undefined => {
    const entry = sealed.keys.find(({ endpointId }) => endpointId === own.endpointId);
    if (entry === undefined) return undefined;
    try {
      const shared = diffieHellman({ privateKey: own.key, publicKey: x25519Public(bytesOf(sealed.ephemeralKey)) });
      const names = { context, ephemeralKey: sealed.ephemeralKey, endpointId: own.endpointId };
      return decrypt(wrappingKey(shared, names), Buffer.from(entry.wrapped, "base64"), context);
    } catch {
      // Somebody else's, damaged, or made for another place.
      return undefined;
    }
  };
  return {
    seal: (secret, context, endpointIds) => {
      const key = randomBytes(keyBytes);
      return { data: base64(encrypt(key, secret, context)), ...wrap(key, context, endpointIds) };
    },
    reseal: (sealed, context, endpointIds) => {
      const key = contentKey(sealed, context);
      return key === undefined ? undefined : { data: sealed.data, ...wrap(key, context, endpointIds) };
    },
    open: (sealed, context) => {
      const key = contentKey(sealed, context);
      if (key === undefined) return undefined;
      try {
        return decrypt(key, Buffer.from(sealed.data, "base64"), context);
      } catch {
        return undefined;
      }
    },
  };
}

function wrap(key: Uint8Array, context: string, endpointIds: readonly string[]): Omit<Sealed, "data"> {
  const ephemeral = generateKeyPairSync("x25519");
  const ephemeralKey = toHex(ephemeral.publicKey.export({ format: "der", type: "spki" }).subarray(spkiPrefix.length));
  const keys = endpointIds.map((endpointId) => {
    const publicKey = x25519Public(montgomeryOf(bytesOf(endpointId)));
    const shared = diffieHellman({ privateKey: ephemeral.privateKey, publicKey });
    const wrapped = encrypt(wrappingKey(shared, { context, ephemeralKey, endpointId }), key, context);
    return { endpointId, wrapped: base64(wrapped) };
  });
  return { ephemeralKey, keys };
}

function wrappingKey(
  shared: Uint8Array,
  names: { readonly context: string; readonly ephemeralKey: string; readonly endpointId: string },
): Uint8Array {
  const salt = fromUtf8(`${names.ephemeralKey} ${names.endpointId}`);
  return new Uint8Array(hkdfSync("sha256", shared, salt, fromUtf8(`${purpose} ${names.context}`), keyBytes));
}

function encrypt(key: Uint8Array, text: Uint8Array, context: string): Uint8Array {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(fromUtf8(context));
  return concatBytes([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

/** @throws for bytes that were not made by {@link encrypt} with this key and context */
function decrypt(key: Uint8Array, bytes: Uint8Array, context: string): Uint8Array {
  assert(bytes.length >= nonceBytes + tagBytes, "what is sealed has a nonce and a tag");
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
  decipher.setAAD(fromUtf8(context));
  decipher.setAuthTag(bytes.subarray(bytes.length - tagBytes));
  const text = decipher.update(bytes.subarray(nonceBytes, bytes.length - tagBytes));
  return concatBytes([text, decipher.final()]);
}

/** The scalar of an Ed25519 key (RFC 8032, section 5.1.5); X25519 clamps it in the same way. */
function x25519OfSeed(seed: Uint8Array): KeyObject {
  const scalar = hash("sha512", seed, "buffer").subarray(0, keyBytes);
  return createPrivateKey({ key: Buffer.concat([pkcs8Prefix, scalar]), format: "der", type: "pkcs8" });
}

function x25519Public(bytes: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([spkiPrefix, bytes]), format: "der", type: "spki" });
}

const fieldPrime = 2n ** 255n - 19n;

/** The u of a point whose y is the Ed25519 key: (1 + y) / (1 - y) (RFC 7748, section 4.1). */
function montgomeryOf(endpoint: Uint8Array): Uint8Array {
  assert(endpoint.length === keyBytes, "an Ed25519 key has 32 bytes");
  const y = BigInt(`0x${toHex(endpoint.toReversed())}`) & (2n ** 255n - 1n);
  const u = mod((1n + y) * power(mod(1n - y), fieldPrime - 2n));
  return bytesOf(u.toString(16).padStart(2 * keyBytes, "0")).toReversed();
}

function mod(value: bigint): bigint {
  return ((value % fieldPrime) + fieldPrime) % fieldPrime;
}

function power(base: bigint, exponent: bigint): bigint {
  let [result, square] = [1n, base];
  for (let left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = mod(result * square);
    square = mod(square * square);
  }
  return result;
}

function bytesOf(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array();
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
