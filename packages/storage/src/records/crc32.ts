/**
 * The CRC-32 of zlib over a part of a buffer. A call into native code, and the view that it needs, cost more than short
 * parts do themselves: those are read here, eight bytes a step ("slicing by 8").
 */
import { crc32 } from "node:zlib";

/** From this length on native code is faster, many times over for long parts. */
const nativeBytesMin = 256;
const polynomial = 0xedb88320;

const tables = makeTables();

/** Goes on from `before`, the checksum of what stands in front; 0 when nothing does. */
export function crc32Of(bytes: Uint8Array, from: number, to: number, before: number): number {
  if (to - from >= nativeBytesMin) return crc32(bytes.subarray(from, to), before);
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables;
  let crc = ~before;
  let at = from;
  for (; at + 8 <= to; at += 8) {
    const low =
      crc ^ (byte(bytes, at) | (byte(bytes, at + 1) << 8) | (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24));
    crc =
      entry(t7, low) ^
      entry(t6, low >>> 8) ^
      entry(t5, low >>> 16) ^
      entry(t4, low >>> 24) ^
      entry(t3, byte(bytes, at + 4)) ^
      entry(t2, byte(bytes, at + 5)) ^
      entry(t1, byte(bytes, at + 6)) ^
      entry(t0, byte(bytes, at + 7));
  }
  for (; at < to; at++) crc = entry(t0, crc ^ byte(bytes, at)) ^ (crc >>> 8);
  return ~crc >>> 0;
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}

function entry(table: Int32Array, at: number): number {
  return table[at & 0xff] as number;
}

type Tables = readonly [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];

/** Table n holds the checksum of each byte with n zero bytes behind it. */
function makeTables(): Tables {
  const first = Int32Array.from({ length: 256 }, (_, start) => {
    let crc = start;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
    return crc;
  });
  const made = [first];
  for (let count = 1; count < 8; count++) {
    const last = made[count - 1] ?? first;
    made.push(last.map((crc) => entry(first, crc) ^ (crc >>> 8)));
  }
  return made as unknown as Tables;
}
