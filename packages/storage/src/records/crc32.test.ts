import { crc32 } from "node:zlib";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { crc32Of } from "./crc32.ts";

describe("crc32Of", () => {
  it("is the checksum of zlib for any part, at any place, behind any other", () => {
    const bytesAndMore = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 600 }), fc.nat(40), fc.nat(0xffffffff));
    fc.assert(
      fc.property(bytesAndMore, ([bytes, offset, before]) => {
        const from = Math.min(offset, bytes.length - 1);
        expect(crc32Of(bytes, from, bytes.length, before)).toBe(crc32(bytes.subarray(from), before));
      }),
    );
  });

  it("goes on from one part to the next", () => {
    const bytes = Buffer.from("a log entry, and the entry behind it");
    expect(crc32Of(bytes, 12, bytes.length, crc32Of(bytes, 0, 12, 0))).toBe(crc32(bytes));
  });
});
