/**
 * Plain values as MessagePack: null, booleans, finite numbers, texts, byte strings, arrays and objects. Bytes from a
 * peer are checked by one pass over them before the decoder sees them, because the decoder would follow extension
 * types, deep nesting and `__proto__` keys wherever they lead.
 */
import { BlixardError, fromUtf8, toUtf8 } from "@blixard/common";
import { Packr, Unpackr } from "msgpackr";
import { limits } from "../limits.ts";
import { corrupt } from "./wire-codec-binary.ts";

export interface WireOptions {
  /** Largest accepted encoding in bytes. Default: `limits.commandBytesMax` (1 MiB). */
  readonly bytesMax?: number;
  /** True for what this node has stored itself: texts there may hold halves of characters, from before they were refused. */
  readonly stored?: boolean;
}

/** Arrays and objects inside each other; a deeper value is refused. */
export const wireDepthMax = 32;

/** The only key that would change the prototype of what is decoded. */
const reservedKey: Uint8Array = fromUtf8("__proto__");
/** Keys of a map that are compared one by one. */
const fewKeysMax = 16;

// The packer's own types do not name `skipValues`, which its documentation does.
const packOptions = { useRecords: false, skipValues: [undefined] };
const packr = new Packr(packOptions);
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });

/** @throws INVALID_ARGUMENT for a value that has no plain encoding, VALUE_TOO_LARGE */
export function encodeValue(value: unknown, options: WireOptions = {}): Uint8Array {
  let bytes: Uint8Array;
  try {
    // A copy: what is kept for long keeps no larger piece of memory.
    bytes = new Uint8Array(packr.pack(value));
    checkStructure(bytes, true);
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", "the value has no plain encoding", { cause: error });
  }
  checkSize(bytes, options);
  return bytes;
}

/**
 * As `encodeValue`, for what is made of values that were decoded or encoded before: nothing in it has to be looked at again.
 * Its bytes are the same, and are part of a larger piece of memory: for what is written soon, and kept by nobody.
 * @throws VALUE_TOO_LARGE
 */
export function encodeKnownValue(value: unknown): Uint8Array {
  // The packer goes on behind what it has given out, and never writes over it.
  const bytes = packr.pack(value);
  checkSize(bytes, {});
  return bytes;
}

/**
 * The value that `bytes` stand for. Byte strings come back as Uint8Array (Buffer in Node.js).
 * @throws FRAME_CORRUPT, VALUE_TOO_LARGE
 */
export function decodeValue(bytes: Uint8Array, options: WireOptions = {}): unknown {
  checkSize(bytes, options);
  checkStructure(bytes, options.stored !== true);
  return unpackr.unpack(bytes);
}

/** The value in bytes that `encodeValue` gave, which has checked them. */
export function readBack(bytes: Uint8Array): unknown {
  return unpackr.unpack(bytes);
}

function checkSize(bytes: Uint8Array, options: WireOptions): void {
  const bytesMax = options.bytesMax ?? limits.commandBytesMax;
  if (bytes.length > bytesMax) {
    throw new BlixardError("VALUE_TOO_LARGE", `the value has ${bytes.length} bytes, at most ${bytesMax} are allowed`);
  }
}

function keyTwice(): BlixardError {
  return corrupt("a key stands twice");
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    toUtf8(bytes);
    return true;
  } catch {
    return false;
  }
}

function checkStructure(bytes: Uint8Array, strictText: boolean): void {
  const scanner = new Scanner(bytes, strictText);
  scanner.value(0);
  if (scanner.at !== bytes.length) throw corrupt("bytes are left over after the value");
}

/** Walks over one MessagePack value (github.com/msgpack/msgpack/blob/master/spec.md) and refuses what is not plain. */
class Scanner {
  readonly #bytes: Uint8Array;
  readonly #strictText: boolean;
  /** Start and length of each key of the small maps that the value is inside of. */
  readonly #keys: number[] = [];
  at = 0;

  constructor(bytes: Uint8Array, strictText: boolean) {
    this.#bytes = bytes;
    this.#strictText = strictText;
  }

  value(depth: number): void {
    if (depth > wireDepthMax) throw corrupt(`the value is nested more than ${wireDepthMax} deep`);
    const head = this.#unsigned(1);
    if (head <= 0x7f || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) return;
    if (head <= 0x8f) this.#map(head & 0x0f, depth);
    else if (head <= 0x9f) this.#array(head & 0x0f, depth);
    else if (head <= 0xbf) this.#text(head & 0x1f);
    else if (head >= 0xd9 && head <= 0xdb) this.#text(this.#unsigned(2 ** (head - 0xd9)));
    else if (head >= 0xc4 && head <= 0xc6) this.#skip(this.#unsigned(2 ** (head - 0xc4)));
    else if (head >= 0xcc && head <= 0xce) this.#skip(2 ** (head - 0xcc));
    else if (head >= 0xd0 && head <= 0xd2) this.#skip(2 ** (head - 0xd0));
    else if (head === 0xca || head === 0xcb) this.#finite(head === 0xca ? 4 : 8);
    else if (head === 0xcf || head === 0xd3) this.#safeInteger64();
    else if (head === 0xdc || head === 0xdd) this.#array(this.#unsigned(head === 0xdc ? 2 : 4), depth);
    else if (head === 0xde || head === 0xdf) this.#map(this.#unsigned(head === 0xde ? 2 : 4), depth);
    else throw corrupt(`type 0x${head.toString(16)} is not plain data`);
  }

  #array(count: number, depth: number): void {
    this.#available(count);
    for (let item = 0; item < count; item++) this.value(depth + 1);
  }

  #map(count: number, depth: number): void {
    this.#available(2 * count);
    if (count > fewKeysMax) {
      this.#largeMap(count, depth);
      return;
    }
    const keys = this.#keys;
    const first = keys.length;
    for (let item = 0; item < count; item++) {
      const length = this.#key();
      const start = this.at - length;
      for (let other = first; other < keys.length; other += 2) {
        if (keys[other + 1] === length && this.#areSame(keys[other] ?? 0, start, length)) throw keyTwice();
      }
      keys.push(start, length);
      this.value(depth + 1);
    }
    keys.length = first;
  }

  /** Where comparing each key with all before it would cost too much. */
  #largeMap(count: number, depth: number): void {
    const keys = new Set<string>();
    for (let item = 0; item < count; item++) {
      const length = this.#key();
      let key = "";
      for (let at = this.at - length; at < this.at; at++) key += String.fromCharCode(this.#bytes[at] ?? 0);
      keys.add(key);
      this.value(depth + 1);
    }
    if (keys.size < count) throw keyTwice();
  }

  #areSame(one: number, other: number, length: number): boolean {
    for (let at = 0; at < length; at++) if (this.#bytes[one + at] !== this.#bytes[other + at]) return false;
    return true;
  }

  /** Passes over a key. Returns how many bytes it has. */
  #key(): number {
    const head = this.#unsigned(1);
    let length = 0;
    if (head >= 0xa0 && head <= 0xbf) length = head & 0x1f;
    else if (head >= 0xd9 && head <= 0xdb) length = this.#unsigned(2 ** (head - 0xd9));
    else throw corrupt("a key is not a text");
    this.#text(length);
    if (length === reservedKey.length && this.#isReserved(this.at - length)) throw corrupt("a key is reserved");
    return length;
  }

  #isReserved(start: number): boolean {
    for (let at = 0; at < reservedKey.length; at++) if (this.#bytes[start + at] !== reservedKey[at]) return false;
    return true;
  }

  #text(length: number): void {
    this.#skip(length);
    if (!this.#strictText) return;
    for (let at = this.at - length; at < this.at; at++) {
      if ((this.#bytes[at] ?? 0) < 0x80) continue;
      // From the first byte that is no ASCII on, which is rare.
      if (!isUtf8(this.#bytes.subarray(at, this.at))) throw corrupt("a text is not UTF-8");
      return;
    }
  }

  #finite(length: 4 | 8): void {
    this.#available(length);
    const view = this.#next(length);
    const value = length === 4 ? view.getFloat32(0) : view.getFloat64(0);
    if (!Number.isFinite(value)) throw corrupt("a number is not finite");
    this.at += length;
  }

  #safeInteger64(): void {
    this.#available(8);
    const value = Number(this.#next(8).getBigInt64(0));
    if (!Number.isSafeInteger(value)) throw corrupt("an integer is beyond 2^53 - 1");
    this.at += 8;
  }

  #next(length: number): DataView {
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset + this.at, length);
  }

  #unsigned(length: number): number {
    this.#available(length);
    let value = 0;
    for (let count = 0; count < length; count++) value = value * 256 + (this.#bytes[this.at++] ?? 0);
    return value;
  }

  #skip(length: number): void {
    this.#available(length);
    this.at += length;
  }

  #available(length: number): void {
    if (length > this.#bytes.length - this.at) throw corrupt("the bytes end early");
  }
}
