/**
 * Bytes of plain records, the same on every replica: MessagePack maps in the order of the object's own keys, without
 * extension types. Fields that are undefined are left out, so that a record equals what is read back.
 */
import { type Options, Packr } from "msgpackr";

const options = { useRecords: false, variableMapSize: true, int64AsType: "number", skipValues: [undefined] } as const;
const packr = new Packr(options as Options);

/** Largest nesting that a decoded value may have; more is refused as corrupt. */
const depthMax = 32;

/** The bytes of a plain value of maps, arrays, strings, numbers, booleans, null and byte arrays. The caller owns them. */
export function encodeRecord(value: unknown): Uint8Array {
  // A copy, because the packer hands out a view into a buffer that it shares between calls.
  return new Uint8Array(packr.pack(value));
}

/** The value of `bytes`. @throws an error when they are not MessagePack, or nest too deep. */
export function decodeRecord(bytes: Uint8Array): unknown {
  const value: unknown = packr.unpack(bytes);
  assertDepth(value, depthMax);
  return value;
}

function assertDepth(value: unknown, left: number): void {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  if (left === 0) throw new RangeError(`nested deeper than ${depthMax}`);
  for (const part of Object.values(value)) assertDepth(part, left - 1);
}
