/**
 * The frame around every value on disk: format version, CRC-32 and payload. The checksum covers the key too, so a
 * value that turns up under another key is found out.
 *
 *     0        1          5
 *     version  crc32(BE)  payload
 */
import { crc32 } from "node:zlib";
import { BlixardError } from "@blixard/common";

export const recordFormatVersion = 1;
const headerBytes = 5;
const versionByte = Buffer.from([recordFormatVersion]);

/** The value to store under `key`. */
export function sealRecord(key: Uint8Array, payload: Uint8Array): Buffer {
  const value = Buffer.allocUnsafe(headerBytes + payload.length);
  value.writeUInt8(recordFormatVersion, 0);
  value.writeUInt32BE(checksum(key, payload), 1);
  value.set(payload, headerBytes);
  return value;
}

/** The payload of a stored value, a view on its bytes. @throws STORAGE_CORRUPT */
export function openRecord(key: Uint8Array, value: Uint8Array): Buffer {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (bytes.length < headerBytes) throw corrupt(`record ${hexOf(key)} is shorter than its header`);
  const version = bytes.readUInt8(0);
  const payload = bytes.subarray(headerBytes);
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
  return crc32(payload, crc32(versionByte, crc32(key)));
}

function hexOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, Math.min(key.byteLength, 32)).toString("hex");
}
