/**
 * A node's TLS certificate: self-signed by its Ed25519 key (RFC 5280, RFC 8410), so that TLS proves the same identity as
 * Iroh does and the member list is the only thing to trust. The names in it mean nothing; only the key in it counts.
 */
import { randomBytes, sign } from "node:crypto";
import type { Clock } from "@blixard/common";
import { clockSkewMs } from "./certificate-dates.ts";
import {
  derBitString,
  derBoolean,
  derContext,
  derInteger,
  derObjectId,
  derOctetString,
  derSequence,
  derSet,
  derText,
  derTime,
} from "./der.ts";
import { endpointIdOfSeed, privateKeyOfSeed, publicKeyOfSeed } from "./ed25519.ts";

export interface NodeCertificate {
  /** PEM, for node:tls. */
  readonly key: string;
  readonly cert: string;
  readonly endpointId: string;
  readonly notAfterUnixMs: number;
}

export interface NodeCertificateOptions {
  readonly clock: Clock;
  /** How long it is valid; default 30 days. Certificates are cheap: make a new one long before. */
  readonly validMs?: number;
}

const dayMs = 24 * 3600 * 1000;
const oid = {
  ed25519: "1.3.101.112",
  commonName: "2.5.4.3",
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  subjectAltName: "2.5.29.17",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

export function createNodeCertificate(seed: Uint8Array, options: NodeCertificateOptions): NodeCertificate {
  const nowMs = options.clock.unixMs();
  const notAfterUnixMs = nowMs + (options.validMs ?? 30 * dayMs);
  const endpointId = endpointIdOfSeed(seed);
  const name = `blixard-${endpointId.slice(0, 16)}`;
  return {
    key: privateKeyOfSeed(seed).export({ format: "pem", type: "pkcs8" }).toString(),
    cert: signCertificate({
      subject: name,
      publicKey: publicKeyOfSeed(seed),
      issuer: name,
      issuerSeed: seed,
      notBeforeUnixMs: nowMs - clockSkewMs,
      notAfterUnixMs,
      dnsName: "blixard",
    }),
    endpointId,
    notAfterUnixMs,
  };
}

export interface CertificateContent {
  /** Common names. */
  readonly subject: string;
  readonly issuer: string;
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly issuerSeed: Uint8Array;
  readonly notBeforeUnixMs: number;
  readonly notAfterUnixMs: number;
  /** Absent: it is an authority, which may issue others. */
  readonly dnsName?: string;
}

/** A certificate as PEM. */
export function signCertificate(content: CertificateContent): string {
  const algorithm = derSequence(derObjectId(oid.ed25519));
  const body = derSequence(
    derContext(0, derInteger(Uint8Array.of(2))),
    derInteger(serialNumber()),
    algorithm,
    derName(content.issuer),
    derSequence(derTime(content.notBeforeUnixMs), derTime(content.notAfterUnixMs)),
    derName(content.subject),
    derSequence(algorithm, derBitString(content.publicKey)),
    derContext(3, derSequence(...extensions(content.dnsName))),
  );
  const signature = sign(null, body, privateKeyOfSeed(content.issuerSeed));
  return toPem(derSequence(body, algorithm, derBitString(signature)));
}

function derName(commonName: string): Uint8Array {
  return derSequence(derSet(derSequence(derObjectId(oid.commonName), derText(commonName))));
}

function extensions(dnsName: string | undefined): Uint8Array[] {
  if (dnsName === undefined) {
    const keyCertSign = derBitString(Uint8Array.of(0x04), 2);
    return [
      extension(oid.basicConstraints, true, derSequence(derBoolean(true))),
      extension(oid.keyUsage, true, keyCertSign),
    ];
  }
  const digitalSignature = derBitString(Uint8Array.of(0x80), 7);
  const usages = derSequence(derObjectId(oid.serverAuth), derObjectId(oid.clientAuth));
  // [2] is a DNS name; some clients refuse a certificate that has none.
  const names = derSequence(Uint8Array.of(0x82, dnsName.length, ...new TextEncoder().encode(dnsName)));
  return [
    extension(oid.basicConstraints, true, derSequence()),
    extension(oid.keyUsage, true, digitalSignature),
    extension(oid.extendedKeyUsage, false, usages),
    extension(oid.subjectAltName, false, names),
  ];
}

function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  const parts = [derObjectId(id), ...(critical ? [derBoolean(true)] : []), derOctetString(value)];
  return derSequence(...parts);
}

function serialNumber(): Uint8Array {
  const bytes = new Uint8Array(randomBytes(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function toPem(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}
