/**
 * The CRC-32 of a frame: of the first eight bytes of its header, then of its body. Short bodies are summed up here,
 * because a call into zlib costs more than that.
 */
import { crc32 } from "node:zlib";

const nativeFromBytes = 256;
const headBytes = 8;
const polynomial = 0xedb88320;

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) === 0 ? value >>> 1 : (value >>> 1) ^ polynomial;
  return value;
});

export function frameChecksum(header: Uint8Array, body: Uint8Array): number {
  let sum = add(0xffffffff, header, headBytes);
  if (body.length >= nativeFromBytes) return crc32(body, (sum ^ 0xffffffff) >>> 0);
  sum = add(sum, body, body.length);
  return (sum ^ 0xffffffff) >>> 0;
}

function add(start: number, bytes: Uint8Array, length: number): number {
  let sum = start;
  for (let at = 0; at < length; at++) sum = (sum >>> 8) ^ (table[(sum ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
  return sum;
}
