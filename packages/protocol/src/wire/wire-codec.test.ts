import { fromHex, toHex } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { decodeValue, encodeKnownValue, encodeValue, wireDepthMax } from "./wire-codec.ts";

const bytes = (hex: string) => fromHex(hex) ?? new Uint8Array();
const code = (expected: string) => expect.objectContaining({ code: expected });
const thrown = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
};

describe("encodeValue", () => {
  it("writes the bytes that other releases read", () => {
    const value = {
      name: "web",
      vcpus: 2,
      ratio: 0.5,
      on: true,
      none: null,
      list: [1, -1, 70_000],
      data: bytes("00ff"),
    };
    expect(toHex(encodeValue(value))).toBe(
      "87a46e616d65a3776562a5766370757302a5726174696fcb3fe0000000000000a26f6ec3a46e6f6e65c0a46c6973749301ffce00011170a464617461c40200ff",
    );
  });

  it("brings plain values back", () => {
    const value = { a: [1, [2, { b: "ä€" }]], big: Number.MAX_SAFE_INTEGER, low: Number.MIN_SAFE_INTEGER, f: 1.25 };
    expect(decodeValue(encodeValue(value))).toEqual(value);
    expect([...(decodeValue(encodeValue(bytes("0102"))) as Uint8Array)]).toEqual([1, 2]);
  });

  it("leaves out undefined fields and refuses what is not plain", () => {
    expect(decodeValue(encodeValue({ a: 1, b: undefined }))).toEqual({ a: 1 });
    for (const value of [new Date(0), new Map([[1, 2]]), 2n ** 60n, Number.NaN, [undefined]]) {
      expect(thrown(() => encodeValue(value))).toEqual(code("INVALID_ARGUMENT"));
    }
  });

  it("refuses a value that is too large", () => {
    expect(thrown(() => encodeValue("x".repeat(100), { bytesMax: 50 }))).toEqual(code("VALUE_TOO_LARGE"));
  });
});

describe("encodeKnownValue", () => {
  it("writes the bytes of encodeValue, within its limit", () => {
    const value = { a: [1, { a: "ä", b: undefined }], data: bytes("00ff"), big: Number.MAX_SAFE_INTEGER };
    expect(encodeKnownValue(value)).toEqual(encodeValue(value));
    expect(thrown(() => encodeKnownValue("x".repeat(2 ** 20)))).toEqual(code("VALUE_TOO_LARGE"));
  });
});

describe("decodeValue", () => {
  it("takes maps of any size, and the same key in each of several", () => {
    const large = Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`key ${at}`, { a: at, b: { a: 1 } }]));
    expect(decodeValue(encodeValue({ large, a: large, b: [{ a: 1 }, { a: 2 }] }))).toEqual({
      large,
      a: large,
      b: [{ a: 1 }, { a: 2 }],
    });
  });

  it.each([
    ["nothing", ""],
    ["an extension type", "d40001"],
    ["a long extension type", "c7010100"],
    ["the reserved byte", "c1"],
    ["a timestamp", "d6ff00000000"],
    ["bytes after the value", "0102"],
    ["a text that ends early", "a561"],
    ["an array that claims more items than bytes", "ddffffffff"],
    ["a map that claims more items than bytes", "dfffffffff"],
    ["a key that is a number", "810101"],
    ["a key that stands twice", "82a161" + "01a16102"],
    ["a key that stands twice with its length in another form", "82a161" + "01d9016102"],
    ["a key that stands twice in an inner map", "82a16101a16282a16301a16302"],
    [
      "a key that stands twice in a large map",
      `de0012${"61626364656667686970"
        .match(/../g)
        ?.map((key) => `a1${key}00`)
        .join("")}${"7172737475767771"
        .match(/../g)
        ?.map((key) => `a1${key}00`)
        .join("")}`,
    ],
    ["a text that is a lone continuation", "a180"],
    ["a text in an overlong form", "a2c0af"],
    ["a text with half a character", "a3eda080"],
    ["a text that ends within a character", "a3" + "61e282"],
    ["a key that is no text", "81a1ff01"],
    ["a key that changes the prototype", "81a95f5f70726f746f5f5f01"],
    ["an integer beyond 2^53", "cf0020000000000000"],
    ["a number that is not finite", "cb7ff0000000000000"],
  ])("refuses %s", (_, hex) => {
    expect(thrown(() => decodeValue(bytes(hex)))).toEqual(code("FRAME_CORRUPT"));
  });

  it("reads half a character that an older release has stored", () => {
    expect(decodeValue(bytes("a3eda080"), { stored: true })).toHaveLength(3);
    expect(thrown(() => encodeValue("\ud800"))).toEqual(code("INVALID_ARGUMENT"));
  });

  it("refuses nesting beyond the limit", () => {
    const nested = (depth: number) => bytes(`${"91".repeat(depth)}00`);
    expect(decodeValue(nested(wireDepthMax))).toBeDefined();
    expect(thrown(() => decodeValue(nested(wireDepthMax + 1)))).toEqual(code("FRAME_CORRUPT"));
  });
});
