/** The few forms of DER (ITU-T X.690) that a self-signed certificate needs. */
import { assert, concatBytes, fromUtf8 } from "@blixard/common";

const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utf8: 0x0c,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

export function derSequence(...parts: readonly Uint8Array[]): Uint8Array {
  return element(tag.sequence, concatBytes(parts));
}

export function derSet(...parts: readonly Uint8Array[]): Uint8Array {
  return element(tag.set, concatBytes(parts));
}

/** A positive integer from its big-endian bytes. */
export function derInteger(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const shortest = first < 0 ? Uint8Array.of(0) : bytes.subarray(first);
  // A set top bit would make the number negative.
  return element(tag.integer, (shortest[0] ?? 0) >= 0x80 ? concatBytes([Uint8Array.of(0), shortest]) : shortest);
}

export function derBoolean(value: boolean): Uint8Array {
  return element(tag.boolean, Uint8Array.of(value ? 0xff : 0));
}

export function derBitString(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  return element(tag.bitString, concatBytes([Uint8Array.of(unusedBits), bytes]));
}

export function derOctetString(bytes: Uint8Array): Uint8Array {
  return element(tag.octetString, bytes);
}

export function derText(text: string): Uint8Array {
  return element(tag.utf8, fromUtf8(text));
}

/** An object identifier in dotted form. */
export function derObjectId(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return element(tag.objectId, Uint8Array.from([first * 40 + second, ...rest.flatMap(base128)]));
}

/** UTC, in whole seconds. */
export function derTime(unixMs: number): Uint8Array {
  const text = new Date(unixMs)
    .toISOString()
    .replace(/\.\d+Z$/, "Z")
    .replace(/[-:T]/g, "");
  return element(tag.generalizedTime, fromUtf8(text));
}

/** A context-specific constructed element, `[number]`. */
export function derContext(number: number, content: Uint8Array): Uint8Array {
  return element(0xa0 | number, content);
}

function element(type: number, content: Uint8Array): Uint8Array {
  assert(content.length < 0x1_0000, "a certificate is short");
  const { length } = content;
  const head =
    length < 0x80 ? [type, length] : length < 0x100 ? [type, 0x81, length] : [type, 0x82, length >> 8, length & 0xff];
  return concatBytes([Uint8Array.from(head), content]);
}

function base128(value: number): number[] {
  const digits = [value % 128];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) digits.unshift((rest % 128) | 0x80);
  return digits;
}
