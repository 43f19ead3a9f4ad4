import { concatBytes, fromHex, seededRandom, toHex } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { encodeFrame, type Frame, FrameReader, frameHeaderBytes } from "./frame.ts";
import { compressFromBytes, FrameCompressor } from "./frame-compression.ts";

const options = { frameBytesMax: 1_000_000, compress: false };
const squeezer = (withDictionary = false) => Object.assign(new FrameCompressor(), { withDictionary });
const payload = Uint8Array.of(1, 2, 3);
const frame = (fields: Partial<Frame> = {}): Frame => ({ streamClass: "normal", hello: false, payload, ...fields });
const bytes = (hex: string) => fromHex(hex) ?? new Uint8Array();
const withCode = (code: string) => expect.objectContaining({ code });

describe("encodeFrame", () => {
  it("writes the bytes that other releases read", () => {
    expect(toHex(encodeFrame(frame(), options))).toMatchInlineSnapshot(`"4258010200000003a27632a1010203"`);
    expect(toHex(encodeFrame(frame({ streamClass: "urgent", hello: true }), options))).toMatchInlineSnapshot(
      `"425801080000000333b62e69010203"`,
    );
    expect(toHex(encodeFrame(frame({ payload: new Uint8Array(512) }), options, squeezer()))).toMatchInlineSnapshot(
      `"4258010300000008908e60296360180523390400"`,
    );
  });

  it("compresses only what is long enough and saves a tenth", () => {
    const length = (of: Uint8Array) =>
      encodeFrame(frame({ payload: of }), options, squeezer()).length - frameHeaderBytes;
    expect(length(new Uint8Array(compressFromBytes - 1))).toBe(compressFromBytes - 1);
    expect(length(new Uint8Array(compressFromBytes))).toBeLessThan(compressFromBytes / 2);
    expect(length(seededRandom(1).bytes(10_000))).toBe(10_000);
  });

  it("refuses a payload above the limit of its class", () => {
    const large = new Uint8Array(100_000);
    expect(() => encodeFrame(frame({ payload: large, streamClass: "urgent" }), options)).toThrow(
      withCode("FRAME_TOO_LARGE"),
    );
    expect(encodeFrame(frame({ payload: large }), options).length).toBe(100_000 + frameHeaderBytes);
  });
});

describe("FrameReader", () => {
  it("finds the same frames however the bytes are cut", () => {
    const random = seededRandom(7);
    const frames = Array.from({ length: 40 }, (_, at) =>
      frame({
        streamClass: "bulk",
        payload: [new Uint8Array(), random.bytes(at * 50), new Uint8Array(at * 100).fill(at)][at % 3] ?? payload,
      }),
    );
    const compressor = squeezer(true);
    const stream = concatBytes(frames.map((one) => encodeFrame(one, options, compressor)));
    for (const pieceBytes of [1, 5, 12, 1000, stream.length]) {
      const reader = new FrameReader(options);
      const found: Frame[] = [];
      for (let at = 0; at < stream.length; at += pieceBytes)
        found.push(...reader.push(stream.subarray(at, at + pieceBytes)));
      expect(found).toEqual(frames);
    }
  });

  it("refuses every single changed bit", () => {
    const whole = encodeFrame(frame(), options);
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const changed = whole.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const read = () => {
        const [found] = new FrameReader(options).push(changed);
        // A longer length waits for bytes that never come; it delivers nothing.
        if (found === undefined) throw new Error("incomplete");
      };
      expect(read).toThrow();
    }
  });

  it.each([
    ["FRAME_CORRUPT", "474554202f20485454502f31"],
    ["UNSUPPORTED_VERSION", "425802020000000300000000"],
    ["UNSUPPORTED_VERSION", "425801f20000000300000000"],
    ["UNSUPPORTED_VERSION", "425801060000000300000000"],
    ["FRAME_CORRUPT", "425801100000000300000000"],
    ["FRAME_TOO_LARGE", "42580102ffffffff00000000"],
    ["FRAME_TOO_LARGE", "425801000001000100000000"],
  ])("throws %s on the header %s, before it takes memory", (code, header) => {
    expect(() => [...new FrameReader(options).push(bytes(header))]).toThrow(withCode(code));
  });

  it("hands over the frames before a bad one", () => {
    const stream = concatBytes([encodeFrame(frame(), options), new Uint8Array(frameHeaderBytes)]);
    const found: Frame[] = [];
    expect(() => {
      for (const one of new FrameReader(options).push(stream)) found.push(one);
    }).toThrow(withCode("FRAME_CORRUPT"));
    expect(found).toEqual([frame()]);
  });

  it("does not unpack beyond the limit", () => {
    const bomb = encodeFrame(frame({ payload: new Uint8Array(900_000) }), options, squeezer());
    expect(bomb.length).toBeLessThan(10_000);
    expect(() => [...new FrameReader({ ...options, frameBytesMax: 100_000 }).push(bomb)]).toThrow(
      withCode("FRAME_CORRUPT"),
    );
  });
});
