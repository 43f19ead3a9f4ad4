const encoder = new TextEncoder();
/** The encoder is a call out of JavaScript, which costs more than the bytes of a short key. */
const shortTextLengthMax = 64;
const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const decoder = new TextDecoder("utf-8", { fatal: true });

/** The bytes of `text` in UTF-8. */
export function fromUtf8(text: string): Uint8Array {
  if (text.length > shortTextLengthMax) return encoder.encode(text);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 0x7f) return encoder.encode(text);
    bytes[at] = code;
  }
  return bytes;
}

/** Writes the bytes of `text` from `at` on, where three for each character must fit. Returns where they end. */
export function writeUtf8(text: string, bytes: Uint8Array, at: number): number {
  if (text.length > shortTextLengthMax) return at + encoder.encodeInto(text, bytes.subarray(at)).written;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0x7f) return at + encoder.encodeInto(text, bytes.subarray(at)).written;
    bytes[at + index] = code;
  }
  return at + text.length;
}

/** The text of `bytes`; throws a TypeError when they are not valid UTF-8. */
export function toUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Compares in time that depends only on the lengths, so that it can compare secrets. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let at = 0; at < a.length; at++) difference |= (a[at] ?? 0) ^ (b[at] ?? 0);
  return difference === 0;
}

export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at++) text += hexOfByte[bytes[at] ?? 0];
  return text;
}

/** The bytes of an even number of hexadecimal digits, or undefined when `text` is anything else. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) return undefined;
  const out = new Uint8Array(text.length / 2);
  for (let at = 0; at < out.length; at++) out[at] = Number.parseInt(text.slice(2 * at, 2 * at + 2), 16);
  return out;
}
