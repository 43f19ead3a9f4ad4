/**
 * Frames on a byte stream: `"BX", version, flags, length, CRC-32, payload`, 12 bytes before the payload. The length is
 * checked before memory is taken; the checksum covers header and payload as sent.
 */
import { crc32, deflateRawSync, inflateRawSync } from "node:zlib";
import { BlixardError } from "@blixard/common";
import { transportLimits } from "./transport-limits.ts";

/** Each class has a stream of its own, so that a heartbeat never stands behind an append, nor that behind bulk. */
export type StreamClass = "urgent" | "normal" | "bulk";
export const streamClasses = ["urgent", "normal", "bulk"] as const satisfies readonly StreamClass[];

export interface Frame {
  readonly streamClass: StreamClass;
  /** The first frame each way on a Raft connection; all others carry messages. */
  readonly hello: boolean;
  readonly payload: Uint8Array;
}

export interface FrameOptions {
  readonly frameBytesMax: number;
  /** Worth its CPU only where bytes are dear; see {@link compressFromBytes}. */
  readonly compress: boolean;
}

export const frameHeaderBytes = 12;
const magic0 = 0x42;
const magic1 = 0x58;
const frameVersion = 1;
const flag = { compressed: 1, classShift: 1, classMask: 0b110, hello: 8, known: 0b1111 } as const;

/** Below this a deflated frame costs more CPU than the bytes it saves (measured over Iroh). */
export const compressFromBytes = 512;
/** A result that saves less than a tenth is dropped. */
const compressedShareMax = 0.9;

export function frameBytesMaxOf(streamClass: StreamClass, options: FrameOptions): number {
  return streamClass === "urgent"
    ? Math.min(transportLimits.urgentFrameBytesMax, options.frameBytesMax)
    : options.frameBytesMax;
}

/** @throws FRAME_TOO_LARGE */
export function encodeFrame(frame: Frame, options: FrameOptions): Uint8Array {
  const { streamClass, payload } = frame;
  const bytesMax = frameBytesMaxOf(streamClass, options);
  if (payload.length > bytesMax) throw tooLarge(payload.length, bytesMax);
  const packed = options.compress ? deflated(payload) : undefined;
  const body = packed ?? payload;
  const bytes = new Uint8Array(frameHeaderBytes + body.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = magic0;
  bytes[1] = magic1;
  bytes[2] = frameVersion;
  bytes[3] =
    (packed === undefined ? 0 : flag.compressed) |
    (streamClasses.indexOf(streamClass) << flag.classShift) |
    (frame.hello ? flag.hello : 0);
  view.setUint32(4, body.length);
  view.setUint32(8, crc32(body, crc32(bytes.subarray(0, 8))));
  bytes.set(body, frameHeaderBytes);
  return bytes;
}

/** Cuts what arrives on one stream into frames. After it threw, the stream is lost. */
export class FrameReader {
  readonly #options: FrameOptions;
  readonly #header = new Uint8Array(frameHeaderBytes);
  #headerLength = 0;
  #body: Uint8Array | undefined;
  #bodyLength = 0;

  constructor(options: FrameOptions) {
    this.#options = options;
  }

  /** The frames that are complete now. @throws FRAME_CORRUPT, FRAME_TOO_LARGE, UNSUPPORTED_VERSION */
  push(bytes: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    let at = 0;
    while (at < bytes.length) {
      at +=
        this.#body === undefined
          ? this.#takeHeader(bytes.subarray(at))
          : this.#takeBody(this.#body, bytes.subarray(at));
      if (this.#body !== undefined && this.#bodyLength === this.#body.length) frames.push(this.#finish(this.#body));
    }
    return frames;
  }

  #takeHeader(bytes: Uint8Array): number {
    const part = bytes.subarray(0, frameHeaderBytes - this.#headerLength);
    this.#header.set(part, this.#headerLength);
    this.#headerLength += part.length;
    if (this.#headerLength === frameHeaderBytes) {
      this.#body = new Uint8Array(this.#checkedLength());
      this.#bodyLength = 0;
    }
    return part.length;
  }

  #takeBody(body: Uint8Array, bytes: Uint8Array): number {
    const part = bytes.subarray(0, body.length - this.#bodyLength);
    body.set(part, this.#bodyLength);
    this.#bodyLength += part.length;
    return part.length;
  }

  #checkedLength(): number {
    const [first, second, version, flags = 0] = this.#header;
    if (first !== magic0 || second !== magic1) throw corrupt("the stream does not carry frames");
    if (version !== frameVersion)
      throw new BlixardError("UNSUPPORTED_VERSION", `frame version ${version} is not known`);
    if ((flags & ~flag.known) !== 0) throw corrupt("frame flags are not known");
    const length = this.#view().getUint32(4);
    const bytesMax = frameBytesMaxOf(this.#streamClass(), this.#options);
    if (length > bytesMax) throw tooLarge(length, bytesMax);
    return length;
  }

  #finish(body: Uint8Array): Frame {
    const view = this.#view();
    if (crc32(body, crc32(this.#header.subarray(0, 8))) !== view.getUint32(8)) {
      throw corrupt("the checksum of a frame does not match");
    }
    const flags = this.#header[3] ?? 0;
    const streamClass = this.#streamClass();
    const bytesMax = frameBytesMaxOf(streamClass, this.#options);
    const payload = (flags & flag.compressed) === 0 ? body : inflated(body, bytesMax);
    this.#headerLength = 0;
    this.#body = undefined;
    return { streamClass, hello: (flags & flag.hello) !== 0, payload };
  }

  #streamClass(): StreamClass {
    const streamClass = streamClasses[((this.#header[3] ?? 0) & flag.classMask) >> flag.classShift];
    if (streamClass === undefined) throw corrupt("the class of a frame is not known");
    return streamClass;
  }

  #view(): DataView {
    return new DataView(this.#header.buffer);
  }
}

function deflated(payload: Uint8Array): Uint8Array | undefined {
  if (payload.length < compressFromBytes) return undefined;
  const packed = deflateRawSync(payload, { level: 1 });
  return packed.length <= payload.length * compressedShareMax ? packed : undefined;
}

function inflated(body: Uint8Array, bytesMax: number): Uint8Array {
  try {
    return inflateRawSync(body, { maxOutputLength: bytesMax });
  } catch (error) {
    throw new BlixardError("FRAME_CORRUPT", "a compressed frame cannot be unpacked", { cause: error });
  }
}

function corrupt(what: string): BlixardError {
  return new BlixardError("FRAME_CORRUPT", what);
}

function tooLarge(length: number, bytesMax: number): BlixardError {
  return new BlixardError("FRAME_TOO_LARGE", `a frame of ${length} bytes; at most ${bytesMax} are allowed`);
}
