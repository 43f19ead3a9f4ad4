/** Reads LevelDB's encodings: varints (base 128, low groups first) and byte strings with a varint length. */
export class VarintReader {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get ended(): boolean {
    return this.at >= this.#bytes.length;
  }

  /** @throws RangeError at the end of the bytes, or where the number is not a safe integer */
  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes.readUInt8(this.at++);
      value += (byte & 0x7f) * scale;
      if (!Number.isSafeInteger(value)) throw new RangeError("a varint is too large");
      if (byte < 0x80) return value;
    }
  }

  bytes(length: number = this.varint()): Buffer {
    if (this.at + length > this.#bytes.length) throw new RangeError("a byte string is cut off");
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }
}
