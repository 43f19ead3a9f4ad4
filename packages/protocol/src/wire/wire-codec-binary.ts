/**
 * Bytes by position: what the compact codecs of this package write and read. Integers are LEB128 (7 bits a byte, low
 * bits first, shortest form only), texts and byte strings carry their length in front. A reader refuses everything
 * that a writer would not have written.
 */
import { assert, BlixardError, toUtf8 } from "@blixard/common";

const initialBytes = 256;
const keptBytesMax = 1024 * 1024;
const encoder = new TextEncoder();

/** The error for bytes that do not follow their format. */
export function corrupt(what: string): BlixardError {
  return new BlixardError("FRAME_CORRUPT", what);
}

/** The error for what a later release writes: its bytes may be in order, and this release cannot tell. */
export function unsupported(what: string): BlixardError {
  return new BlixardError("UNSUPPORTED_VERSION", `${what} needs a later release than the one of this node`, {
    hint: "Install the release of the peer on this node too; a cluster is upgraded node by node.",
  });
}

/** Appends values to a growing buffer. */
export class BinaryWriter {
  #bytes = new Uint8Array(initialBytes);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Begins anew; the memory of a batch of a usual size is kept. */
  clear(): void {
    this.#length = 0;
    if (this.#bytes.length > keptBytesMax) this.#bytes = new Uint8Array(initialBytes);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  /** An integer from 0 to 2^53 - 1. */
  integer(value: number): void {
    // The text of an assertion would be made each time: this is called for every field of every message.
    if (!Number.isSafeInteger(value) || value < 0) assert(false, `only safe integers of at least 0, got ${value}`);
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  /** Bytes as they are; the reader must know their length. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  bytes(value: Uint8Array): void {
    this.integer(value.length);
    this.raw(value);
  }

  text(value: string): void {
    this.bytes(encoder.encode(value));
  }

  /** A copy of everything that was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** Reads what {@link BinaryWriter} wrote. Every method throws FRAME_CORRUPT on bytes that end early or break the form. */
export class BinaryReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get remainingBytes(): number {
    return this.#bytes.length - this.#at;
  }

  byte(what: string): number {
    const value = this.#bytes[this.#at];
    if (value === undefined) throw corrupt(`${what}: the bytes end early`);
    this.#at++;
    return value;
  }

  integer(what: string): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 8; count++) {
      const byte = this.byte(what);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && count > 0) throw corrupt(`${what}: an integer is not in its shortest form`);
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 0x80;
    }
    throw corrupt(`${what}: an integer is above 2^53 - 1`);
  }

  /** The next `length` bytes, copied, so that they do not keep the whole frame in memory. */
  raw(length: number, what: string): Uint8Array {
    if (length > this.remainingBytes) throw corrupt(`${what}: the bytes end early`);
    const value = new Uint8Array(this.#bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return value;
  }

  bytes(what: string): Uint8Array {
    return this.raw(this.integer(what), what);
  }

  /** As `bytes`, without a copy: for what is read at once. */
  view(what: string): Uint8Array {
    const length = this.integer(what);
    if (length > this.remainingBytes) throw corrupt(`${what}: the bytes end early`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  text(what: string, lengthBytesMax: number): string {
    const length = this.integer(what);
    if (length > lengthBytesMax) throw corrupt(`${what}: ${length} bytes, at most ${lengthBytesMax} are allowed`);
    try {
      return toUtf8(this.raw(length, what));
    } catch (error) {
      throw new BlixardError("FRAME_CORRUPT", `${what}: not valid UTF-8`, { cause: error });
    }
  }

  /** A number of items that each take at least one byte: never more than there are bytes left. */
  count(what: string): number {
    const value = this.integer(what);
    if (value > this.remainingBytes) throw corrupt(`${what}: more items than bytes`);
    return value;
  }

  rest(): Uint8Array {
    return this.raw(this.remainingBytes, "rest");
  }

  end(what: string): void {
    if (this.remainingBytes > 0) throw corrupt(`${what}: ${this.remainingBytes} bytes are left over`);
  }
}
