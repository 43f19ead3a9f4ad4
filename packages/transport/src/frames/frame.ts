/**
 * Frames on a byte stream: `"BX", version, flags, length, CRC-32, payload`, 12 bytes before the payload. The length is
 * checked before memory is taken; the checksum covers header and payload as sent.
 */
import { BlixardError } from "@blixard/common";
import { unsupported } from "@blixard/protocol";
import { transportLimits } from "../transport-limits.ts";
import { frameChecksum } from "./frame-checksum.ts";
import { type FrameCompressor, inflate } from "./frame-compression.ts";
import { type StreamClass, streamClasses } from "./stream-class.ts";

export interface Frame {
  readonly streamClass: StreamClass;
  /** The first frame each way on a Raft connection; all others carry messages. */
  readonly hello: boolean;
  readonly payload: Uint8Array;
}

export interface FrameOptions {
  readonly frameBytesMax: number;
  /** Whether outgoing frames are compressed. That is worth its CPU only where bytes are expensive. */
  readonly compress: boolean;
}

export const frameHeaderBytes = 12;
const magic0 = 0x42;
const magic1 = 0x58;
const frameVersion = 1;
/** `dictionary` stands only beside `compressed`, and only where the other side's hello says that it is known there. */
const flag = { compressed: 1, classShift: 1, classMask: 0b110, hello: 8, dictionary: 16, known: 0b11111 } as const;

export function frameBytesMaxOf(streamClass: StreamClass, options: FrameOptions): number {
  return streamClass === "urgent"
    ? Math.min(transportLimits.urgentFrameBytesMax, options.frameBytesMax)
    : options.frameBytesMax;
}

/** @throws FRAME_TOO_LARGE */
export function encodeFrame(frame: Frame, options: FrameOptions, compressor?: FrameCompressor): Uint8Array {
  const { streamClass, payload } = frame;
  const bytesMax = frameBytesMaxOf(streamClass, options);
  if (payload.length > bytesMax) throw tooLarge(payload.length, bytesMax);
  const packed = compressor?.compress(streamClass, payload);
  const body = packed?.bytes ?? payload;
  const bytes = new Uint8Array(frameHeaderBytes + body.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = magic0;
  bytes[1] = magic1;
  bytes[2] = frameVersion;
  bytes[3] =
    (packed === undefined ? 0 : flag.compressed) |
    (packed?.withDictionary === true ? flag.dictionary : 0) |
    (streamClasses.indexOf(streamClass) << flag.classShift) |
    (frame.hello ? flag.hello : 0);
  view.setUint32(4, body.length);
  view.setUint32(8, frameChecksum(bytes, body));
  bytes.set(body, frameHeaderBytes);
  return bytes;
}

/** Cuts what arrives on one stream into frames. After it threw, the stream is lost. */
export class FrameReader {
  readonly #options: FrameOptions;
  readonly #header = new Uint8Array(frameHeaderBytes);
  readonly #view = new DataView(this.#header.buffer);
  #headerLength = 0;
  #body: Uint8Array | undefined;
  #bodyLength = 0;

  constructor(options: FrameOptions) {
    this.#options = options;
  }

  /**
   * Yields the frames that are complete now, and throws at the first bad one.
   * @throws FRAME_CORRUPT, FRAME_TOO_LARGE, UNSUPPORTED_VERSION
   */
  *push(bytes: Uint8Array): Generator<Frame, void, undefined> {
    let at = 0;
    while (at < bytes.length) {
      at +=
        this.#body === undefined
          ? this.#takeHeader(bytes.subarray(at))
          : this.#takeBody(this.#body, bytes.subarray(at));
      if (this.#body !== undefined && this.#bodyLength === this.#body.length) yield this.#finish(this.#body);
    }
  }

  #takeHeader(bytes: Uint8Array): number {
    const part = bytes.subarray(0, frameHeaderBytes - this.#headerLength);
    this.#header.set(part, this.#headerLength);
    this.#headerLength += part.length;
    if (this.#headerLength === frameHeaderBytes) {
      const length = this.#checkedLength();
      // Mostly the rest of the frame came along with its header: then nothing is copied.
      const whole = bytes.length - part.length >= length;
      this.#body = whole ? bytes.subarray(part.length, part.length + length) : new Uint8Array(length);
      this.#bodyLength = whole ? length : 0;
      return whole ? part.length + length : part.length;
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
    if (version !== frameVersion) throw unsupported(`frame version ${version}`);
    const known = (flags & flag.compressed) === 0 ? flag.known & ~flag.dictionary : flag.known;
    if ((flags & ~flag.known) !== 0) throw unsupported("a flag of a frame");
    if ((flags & ~known) !== 0) throw corrupt("the dictionary of a frame that is not compressed");
    const length = this.#view.getUint32(4);
    const bytesMax = frameBytesMaxOf(this.#streamClass(), this.#options);
    if (length > bytesMax) throw tooLarge(length, bytesMax);
    return length;
  }

  #finish(body: Uint8Array): Frame {
    if (frameChecksum(this.#header, body) !== this.#view.getUint32(8)) {
      throw corrupt("the checksum of a frame does not match");
    }
    const flags = this.#header[3] ?? 0;
    const streamClass = this.#streamClass();
    const bytesMax = frameBytesMaxOf(streamClass, this.#options);
    const withDictionary = (flags & flag.dictionary) !== 0;
    const payload = (flags & flag.compressed) === 0 ? body : inflate({ bytes: body, withDictionary }, bytesMax);
    this.#headerLength = 0;
    this.#body = undefined;
    return { streamClass, hello: (flags & flag.hello) !== 0, payload };
  }

  #streamClass(): StreamClass {
    const streamClass = streamClasses[((this.#header[3] ?? 0) & flag.classMask) >> flag.classShift];
    if (streamClass === undefined) throw unsupported("a class of frames");
    return streamClass;
  }
}

function corrupt(what: string): BlixardError {
  return new BlixardError("FRAME_CORRUPT", what);
}

function tooLarge(length: number, bytesMax: number): BlixardError {
  return new BlixardError("FRAME_TOO_LARGE", `a frame of ${length} bytes; at most ${bytesMax} are allowed`);
}
