/**
 * Frames in a stream, as QEMU's `-netdev stream` and passt write them: four bytes with the length, most significant first, and then
 * the Ethernet frame.
 */
import { BlixardError } from "@blixard/common";

export const lengthBytes = 4;
/** passt takes none that is longer. */
export const frameBytesMax = 65_535;

export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /**
   * The whole frames that `chunk` completes, each with its length in front. They share the memory of the chunk.
   * @throws INVALID_ARGUMENT for a length that no frame has: what follows in the stream cannot be read any more
   */
  push(chunk: Buffer): Buffer[] {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Buffer[] = [];
    while (bytes.length >= lengthBytes) {
      const length = bytes.readUInt32BE(0);
      if (length === 0 || length > frameBytesMax) {
        throw new BlixardError(
          "INVALID_ARGUMENT",
          `a frame of ${length} bytes, where at most ${frameBytesMax} are allowed`,
        );
      }
      if (bytes.length < lengthBytes + length) break;
      frames.push(bytes.subarray(0, lengthBytes + length));
      bytes = bytes.subarray(lengthBytes + length);
    }
    this.#rest = bytes;
    return frames;
  }
}

/** The frame as it goes into a stream. */
export function withLength(frame: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(lengthBytes + frame.length);
  bytes.writeUInt32BE(frame.length, 0);
  frame.copy(bytes, lengthBytes);
  return bytes;
}
