/**
 * What goes between the switches of two nodes: a frame with the network that it is in and the epoch of the VM that sends it. In the
 * stream each record has its length in front, as a frame has towards a guest.
 */
import { frameBytesMax, lengthBytes } from "../frame-reader.ts";

const networkIdBytes = 16;
const epochBytes = 4;
const headBytes = networkIdBytes + epochBytes;
/** Of a frame that fits into a record. */
export const laneFrameBytesMax = frameBytesMax - headBytes;

export interface LaneRecord {
  readonly networkId: string;
  readonly epoch: number;
  readonly frame: Buffer;
}

/** Copies, so that nothing holds the memory from which the frames come. */
export function encodeRecords(networkId: string, epoch: number, frames: readonly Buffer[]): Buffer {
  const bytes = Buffer.allocUnsafe(frames.reduce((sum, { length }) => sum + lengthBytes + headBytes + length, 0));
  const id = networkId.replaceAll("-", "");
  let at = 0;
  for (const frame of frames) {
    at = bytes.writeUInt32BE(headBytes + frame.length, at);
    at += bytes.write(id, at, "hex");
    at = bytes.writeUInt32BE(epoch, at);
    at += frame.copy(bytes, at);
  }
  return bytes;
}

/** `record`: without its length. Undefined for what is too short to be one. */
export function decodeRecord(record: Buffer): LaneRecord | undefined {
  if (record.length < headBytes) return undefined;
  const digits = record.toString("hex", 0, networkIdBytes);
  const networkId = digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return { networkId, epoch: record.readUInt32BE(networkIdBytes), frame: record.subarray(headBytes) };
}
