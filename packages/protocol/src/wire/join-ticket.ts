/**
 * The text of a join ticket: `blx1-` and base64url of `version, fields, checksum`. It carries everything a machine
 * needs to find a cluster and to prove that it was invited. Whoever holds it can join once: treat it as a secret.
 */
import { BlixardError, bytesEqual, fromHex, toHex } from "@blixard/common";
import { type TicketRole, ticketRoleSchema } from "../api/ticket.ts";
import { endpointIdSchema } from "../api/values.ts";
import { limits } from "../limits.ts";
import { BinaryReader, BinaryWriter, corrupt } from "./wire-codec-binary.ts";

export interface JoinTicket {
  readonly clusterId: string;
  readonly ticketId: string;
  /** 16 to 64 random bytes, which the cluster does not keep. */
  readonly secret: Uint8Array;
  /** How it is shown. `secret` is for clusters whose level is below that of signatures. */
  readonly shownBy: "signature" | "secret";
  readonly role: TicketRole;
  /** Nodes that can be asked, best first. */
  readonly endpoints: readonly { readonly endpointId: string; readonly addresses: readonly string[] }[];
  readonly expiresUnixMs: number;
}

export const ticketPrefix = "blx1-";

/** The version says how the ticket is shown: a release that knows only the first one would show the secret. */
const formatVersions = { secret: 1, signature: 2 } as const;
const secretBytesMin = 16;
const secretBytesMax = 64;
const endpointsMax = 16;
const idBytesMax = 64;
const addressBytesMax = 262;
const textLengthMax = 16 * 1024;
const checksumBytes = 4;
/** Position is the wire number: append only. */
const roles = [
  "voter",
  "learner",
  "worker",
  "witness",
  "operator",
  "viewer",
  "admin",
] as const satisfies readonly TicketRole[];

/** @throws INVALID_ARGUMENT when a field is outside of its limits */
export function encodeTicket(ticket: JoinTicket): string {
  if (ticket.secret.length < secretBytesMin || ticket.secret.length > secretBytesMax) {
    throw new BlixardError("INVALID_ARGUMENT", `a ticket secret has ${secretBytesMin} to ${secretBytesMax} bytes`);
  }
  const endpoints = ticket.endpoints.slice(0, endpointsMax);
  const writer = new BinaryWriter();
  writer.byte(formatVersions[ticket.shownBy]);
  writer.text(ticket.clusterId);
  writer.text(ticket.ticketId);
  writer.bytes(ticket.secret);
  writer.byte(roles.indexOf(ticket.role));
  writer.integer(ticket.expiresUnixMs);
  writer.integer(endpoints.length);
  for (const endpoint of endpoints) {
    const id = endpointIdSchema.safeParse(endpoint.endpointId).success ? fromHex(endpoint.endpointId) : undefined;
    if (id === undefined) throw new BlixardError("INVALID_ARGUMENT", "an endpoint id has 64 hexadecimal digits");
    const addresses = endpoint.addresses.slice(0, limits.addressesPerNodeMax);
    writer.raw(id);
    writer.integer(addresses.length);
    for (const address of addresses) writer.text(address);
  }
  const body = writer.finish();
  writer.raw(checksum(body));
  return ticketPrefix + toBase64Url(writer.finish());
}

/** @throws TICKET_INVALID for a text that was cut, altered or never was a ticket. Expiry is the cluster's to judge. */
export function decodeTicket(text: string): JoinTicket {
  const trimmed = text.trim();
  if (!trimmed.startsWith(ticketPrefix)) {
    throw invalid(
      `the text does not start with ${ticketPrefix}`,
      "Create one with `blixard ticket create` on a member.",
    );
  }
  try {
    if (trimmed.length > textLengthMax) throw corrupt("the ticket is too long");
    const bytes = fromBase64Url(trimmed.slice(ticketPrefix.length));
    const body = bytes.subarray(0, Math.max(0, bytes.length - checksumBytes));
    if (!bytesEqual(checksum(body), bytes.subarray(body.length))) throw corrupt("the checksum does not match");
    return readTicket(new BinaryReader(body));
  } catch (error) {
    throw invalid("the ticket is damaged", "Copy the whole ticket, on one line, or create a new one.", error);
  }
}

function readTicket(reader: BinaryReader): JoinTicket {
  const version = reader.byte("version");
  if (version !== formatVersions.secret && version !== formatVersions.signature) {
    throw corrupt("the version is not known");
  }
  const shownBy = version === formatVersions.secret ? "secret" : "signature";
  const clusterId = reader.text("cluster id", idBytesMax);
  const ticketId = reader.text("ticket id", idBytesMax);
  const secret = reader.bytes("secret");
  if (secret.length < secretBytesMin || secret.length > secretBytesMax) throw corrupt("the secret has a wrong length");
  const role = ticketRoleSchema.parse(roles[reader.byte("role")]);
  const expiresUnixMs = reader.integer("expiry");
  const count = reader.count("endpoints");
  if (count > endpointsMax) throw corrupt("too many endpoints");
  const endpoints: { endpointId: string; addresses: string[] }[] = [];
  for (let item = 0; item < count; item++) {
    const endpointId = toHex(reader.raw(32, "endpoint id"));
    const addressCount = reader.count("addresses");
    if (addressCount > limits.addressesPerNodeMax) throw corrupt("too many addresses");
    const addresses: string[] = [];
    for (let at = 0; at < addressCount; at++) addresses.push(reader.text("address", addressBytesMax));
    endpoints.push({ endpointId, addresses });
  }
  reader.end("ticket");
  return { clusterId, ticketId, secret, shownBy, role, endpoints, expiresUnixMs };
}

function invalid(message: string, hint: string, cause?: unknown): BlixardError {
  return new BlixardError("TICKET_INVALID", message, { hint, ...(cause === undefined ? {} : { cause }) });
}

/** CRC-32 (IEEE 802.3): finds slips of copying. It proves nothing; the secret does that. */
function checksum(bytes: Uint8Array): Uint8Array {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  const value = ~crc >>> 0;
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

function fromBase64Url(text: string): Uint8Array {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw corrupt("a character is not of base64url");
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}
