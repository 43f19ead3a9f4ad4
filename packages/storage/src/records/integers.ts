/** Fixed-width big-endian integers, so that keys sort as numbers do. */
const uint32Range = 0x1_0000_0000;

/** Writes a safe integer in 8 bytes and returns the offset behind it. */
export function writeUint64(target: Buffer, value: number, offset: number): number {
  target.writeUInt32BE(Math.floor(value / uint32Range), offset);
  return target.writeUInt32BE(value % uint32Range, offset + 4);
}

/** Reads 8 bytes; the result is not a safe integer when the bytes are damaged, which callers find by checksum first. */
export function readUint64(source: Buffer, offset: number): number {
  return source.readUInt32BE(offset) * uint32Range + source.readUInt32BE(offset + 4);
}
