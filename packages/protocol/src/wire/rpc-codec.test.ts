import { BlixardError, fromHex, toHex } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import {
  decodeRpcFrame,
  encodeRpcBatch,
  encodeRpcFrame,
  fromRpcError,
  type RpcFrame,
  rpcFramesIn,
  toRpcError,
} from "./rpc-codec.ts";
import { encodeValue } from "./wire-codec.ts";

const payload = Uint8Array.of(9, 8);
const golden: readonly (readonly [string, RpcFrame])[] = [
  [
    "0107056b762e67658827 0908".replaceAll(" ", ""),
    { type: "request", id: 7, method: "kv.ge", timeoutMs: 5000, payload },
  ],
  ["02070908", { type: "response", id: 7, payload }],
  [
    "030795aa4e4f545f4c4541444552a16da168ab6e6f745f6170706c69656481a86c6561646572496402",
    {
      type: "error",
      id: 7,
      error: { code: "NOT_LEADER", message: "m", hint: "h", outcome: "not_applied", details: { leaderId: 2 } },
    },
  ],
  ["0407", { type: "cancel", id: 7 }],
  ["0500", { type: "ping", id: 0 }],
  ["0600", { type: "pong", id: 0 }],
  ["0707026b7688278080100908", { type: "open", id: 7, method: "kv", timeoutMs: 5000, creditBytes: 262_144, payload }],
  ["08070908", { type: "item", id: 7, by: "caller", payload }],
  ["09070908", { type: "item", id: 7, by: "callee", payload }],
  ["0a07", { type: "end", id: 7, by: "caller" }],
  ["0b07", { type: "end", id: 7, by: "callee" }],
  ["0c078001", { type: "credit", id: 7, by: "caller", bytes: 128 }],
  ["0d0700", { type: "credit", id: 7, by: "callee", bytes: 0 }],
];

describe("encodeRpcFrame", () => {
  it.each(golden)("writes the bytes that other releases read: %s", (hex, frame) => {
    expect(toHex(encodeRpcFrame(frame))).toBe(hex);
  });
});

describe("decodeRpcFrame", () => {
  it.each(golden)("brings a frame back: %s", (_, frame) => {
    expect(decodeRpcFrame(encodeRpcFrame(frame))).toEqual(frame);
  });

  const broken = ["", "01", "0700", "040700", "0107ff", "0307c0", "030795c0c0c0c0c0", "0107810066"];
  const brokenStreams = ["0000", "08", "0a0700", "0c07", "0c070000", "0c0781808008", "07000000", "070000008180800866"];
  it.each([...broken, ...brokenStreams])("refuses %s", (hex) => {
    expect(() => decodeRpcFrame(fromHex(hex) ?? new Uint8Array())).toThrow(
      expect.objectContaining({ code: "FRAME_CORRUPT" }),
    );
  });
});

describe("rpcFramesIn", () => {
  it("brings back the frames of a batch, and a frame that is alone", () => {
    const frames = golden.map(([, frame]) => encodeRpcFrame(frame));
    expect(rpcFramesIn(encodeRpcBatch(frames)).map(decodeRpcFrame)).toEqual(golden.map(([, frame]) => frame));
    for (const frame of frames) expect(rpcFramesIn(frame)).toEqual([frame]);
    expect(toHex(encodeRpcBatch(frames.slice(3, 5)))).toBe("0e0202040702 0500".replaceAll(" ", ""));
  });

  it.each(["0e", "0e01", "0e0105", "0e020204070205", "0e01020407ff", "0e01020e00", "0eff7f"])("refuses %s", (hex) => {
    expect(() => rpcFramesIn(fromHex(hex) ?? new Uint8Array())).toThrow(
      expect.objectContaining({ code: "FRAME_CORRUPT" }),
    );
  });

  it("refuses more frames than a batch has", () => {
    const frames = Array.from({ length: 1_025 }, () => Uint8Array.of(5, 0));
    expect(() => rpcFramesIn(encodeRpcBatch(frames))).toThrow(expect.objectContaining({ code: "FRAME_CORRUPT" }));
  });
});

describe("what a later release sends", () => {
  it.each(["0e00", "0f07aa", "ff01"])("is told from damage when it is a frame of a new type: %s", (hex) => {
    expect(() => decodeRpcFrame(fromHex(hex) ?? new Uint8Array())).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED_VERSION", message: expect.stringContaining("a later release") }),
    );
  });

  it("leaves open what an error has done whose outcome is new, and what else it says", () => {
    const error = encodeValue(["NEW_CODE", "m", null, "half_applied", null, "more"]);
    expect(decodeRpcFrame(Uint8Array.of(3, 1, ...error))).toEqual({
      type: "error",
      id: 1,
      error: { code: "NEW_CODE", message: "m", outcome: "unknown" },
    });
  });
});

describe("toRpcError", () => {
  it("carries all of a BlixardError and only the message of anything else", () => {
    const error = new BlixardError("NOT_LEADER", "ask 2", { hint: "h", outcome: "unknown", details: { leaderId: 2 } });
    const frame = decodeRpcFrame(encodeRpcFrame({ type: "error", id: 1, error: toRpcError(error) }));
    expect(frame.type === "error" && fromRpcError(frame.error)).toMatchObject({
      name: "BlixardError",
      code: "NOT_LEADER",
      message: "ask 2",
      hint: "h",
      outcome: "unknown",
      details: { leaderId: 2 },
    });
    expect(toRpcError(new TypeError("boom"))).toEqual({ code: "INTERNAL", message: "boom" });
  });

  it("says what an error of the system means, without its paths", () => {
    const errorOf = (code: string, errno: number) => Object.assign(new Error(`${code}: /data/x`), { code, errno });
    expect(toRpcError(errorOf("EMFILE", -24))).toMatchObject({ code: "OVERLOADED", outcome: "unknown" });
    const full = toRpcError(errorOf("ENOSPC", -28));
    expect(full).toMatchObject({ code: "STORAGE_FAILED", message: "the call: the disk is full", outcome: "unknown" });
    const cut = toRpcError(errorOf("ECONNRESET", -104));
    expect(cut).toMatchObject({
      code: "UNREACHABLE",
      message: "the call: the connection was broken",
      outcome: "unknown",
    });
  });

  it("drops details that are too large or not plain, not the error", () => {
    const error = { code: "CONFLICT", message: "m", details: { big: "x".repeat(100_000) } };
    expect(decodeRpcFrame(encodeRpcFrame({ type: "error", id: 1, error }))).toEqual({
      type: "error",
      id: 1,
      error: { code: "CONFLICT", message: "m" },
    });
  });
});
