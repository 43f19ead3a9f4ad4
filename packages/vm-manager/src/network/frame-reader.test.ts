import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { FrameReader, frameBytesMax, withLength } from "./frame-reader.ts";

describe("FrameReader", () => {
  it("gives the same frames, however the stream is cut", () => {
    const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 8 });
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), (contents, cuts) => {
        const stream = Buffer.concat(contents.map((content) => withLength(Buffer.from(content))));
        const reader = new FrameReader();
        const found: Buffer[] = [];
        for (let at = 0, cut = 0; at < stream.length; cut++) {
          const length = cuts[cut % cuts.length] ?? 1;
          found.push(...reader.push(stream.subarray(at, at + length)).map((frame) => Buffer.from(frame)));
          at += length;
        }
        expect(Buffer.concat(found)).toEqual(stream);
        expect(found.map((frame) => [...frame.subarray(4)])).toEqual(contents.map((content) => [...content]));
      }),
    );
  });

  it.each([0, frameBytesMax + 1, 0xffff_ffff])("refuses a length of %s", (length) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(length);
    expect(() => new FrameReader().push(bytes)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
