/**
 * The frame around every value on disk: format version, CRC-32 and payload. The checksum covers the key too, so a
 * value that turns up under another key is found out.
 *
 *     0        1          5
 *     version  crc32(BE)  payload
 */
import { BlixardError } from "@blixard/common";
import { crc32Of } from "./crc32.ts";

export const recordFormatVersion = 1;
export const recordHeaderBytes = 5;
const versionByte = Buffer.from([recordFormatVersion]);

/** The value to store under `key`. */
export function sealRecord(key: Uint8Array, payload: Uint8Array): Buffer {
  const value = Buffer.allocUnsafe(recordHeaderBytes + payload.length);
  value.set(payload, recordHeaderBytes);
  return sealInPlace(key, value);
}

/** As {@link sealRecord}, for a payload that stands behind room for the header already. */
export function sealInPlace(key: Uint8Array, record: Buffer): Buffer {
  record.writeUInt8(recordFormatVersion, 0);
  record.writeUInt32BE(checksum(key, record.subarray(recordHeaderBytes)), 1);
  return record;
}

/** The payload of a stored value, a view on its bytes. @throws STORAGE_CORRUPT */
export function openRecord(key: Uint8Array, value: Uint8Array): Buffer {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (bytes.length < recordHeaderBytes) throw corrupt(`record ${hexOf(key)} is shorter than its header`);
  const version = bytes.readUInt8(0);
  const payload = bytes.subarray(recordHeaderBytes);
  if (version === recordFormatVersion && bytes.readUInt32BE(1) === checksum(key, payload)) return payload;
  if (version === recordFormatVersion) throw corrupt(`the checksum of record ${hexOf(key)} does not match`);
  throw corrupt(`record ${hexOf(key)} has the unknown format version ${version}`);
}

export function corrupt(message: string, cause?: unknown): BlixardError {
  return new BlixardError("STORAGE_CORRUPT", message, {
    cause,
    hint: "See what is wrong with: blixard check. Then, when others of its cluster have the data: blixard recover.",
  });
}

function checksum(key: Uint8Array, payload: Uint8Array): number {
  const before = crc32Of(versionByte, 0, versionByte.length, crc32Of(key, 0, key.length, 0));
  return crc32Of(payload, 0, payload.length, before);
}

function hexOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, Math.min(key.byteLength, 32)).toString("hex");
}
