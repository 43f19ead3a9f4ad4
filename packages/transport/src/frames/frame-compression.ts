/**
 * Deflates the payload of frames where that pays: to send a byte over Iroh costs about 200 ns of CPU, to deflate it
 * about 5 ns. Each connection has one compressor. A payload that does not shrink by a tenth is sent as it is, and some
 * frames after it are not tried, twice as many each time, so that random data does not cost again and again.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { BlixardError } from "@blixard/common";
import { frameDictionary } from "./frame-dictionary.ts";
import type { StreamClass } from "./stream-class.ts";

/** Below this a deflated frame costs more CPU than the bytes it saves (measured over Iroh). */
export const compressFromBytes = 256;
/** Above this deflating would hold up the event loop for longer than a heartbeat should wait. */
export const compressToBytes = 1024 * 1024;
/** A result that saves less than a tenth is dropped. */
const compressedShareMax = 0.9;
/** How many frames at most are sent untried after one that did not shrink: 1, 2, 4, ... up to this. */
const skipFramesMax = 128;

/** A window above the dictionary and a small state: setting up the deflater is most of what a short frame costs. */
const deflateOptions = { level: 1, windowBits: 13, memLevel: 6 } as const;

export type CompressionResult = "saved" | "useless" | "skipped";

export interface Compressed {
  readonly bytes: Uint8Array;
  readonly withDictionary: boolean;
}

export class FrameCompressor {
  readonly #skips = new Map<StreamClass, { left: number; next: number }>();
  readonly #onResult: (result: CompressionResult) => void;
  /** Whether the other side knows the dictionary. */
  withDictionary = false;

  constructor(onResult: (result: CompressionResult) => void = () => {}) {
    this.#onResult = onResult;
  }

  /** Returns undefined when the payload is to be sent as it is. */
  compress(streamClass: StreamClass, payload: Uint8Array): Compressed | undefined {
    if (payload.length < compressFromBytes || payload.length > compressToBytes) return undefined;
    const skip = this.#skips.get(streamClass);
    if (skip !== undefined && skip.left > 0) {
      skip.left--;
      this.#onResult("skipped");
      return undefined;
    }
    const { withDictionary } = this;
    const dictionary = withDictionary ? { dictionary: frameDictionary } : {};
    const bytes = deflateRawSync(payload, { ...deflateOptions, ...dictionary });
    if (bytes.length <= payload.length * compressedShareMax) {
      this.#skips.delete(streamClass);
      this.#onResult("saved");
      return { bytes, withDictionary };
    }
    const next = skip?.next ?? 1;
    this.#skips.set(streamClass, { left: next, next: Math.min(next * 2, skipFramesMax) });
    this.#onResult("useless");
    return undefined;
  }
}

/** Stops unpacking at `bytesMax`, however much more there would be. @throws FRAME_CORRUPT */
export function inflate({ bytes, withDictionary }: Compressed, bytesMax: number): Uint8Array {
  try {
    const dictionary = withDictionary ? { dictionary: frameDictionary } : {};
    return inflateRawSync(bytes, { maxOutputLength: bytesMax, ...dictionary });
  } catch (error) {
    throw new BlixardError("FRAME_CORRUPT", "a compressed frame cannot be unpacked", { cause: error });
  }
}
