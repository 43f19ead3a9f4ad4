import { describe, expect, it } from "@jest/globals";
import type { Command } from "../api/contract.ts";
import { decodeCommand, encodeCommand } from "./command-codec.ts";
import { decodeValue, encodeValue } from "./wire-codec.ts";

const put: Command = {
  requestId: "r1",
  atUnixMs: 1_700_000_000_000,
  actor: { kind: "token", id: "t" },
  body: { type: "kv.put", key: "k", value: "v" },
};

describe("encodeCommand", () => {
  it("keeps its bytes of format 1", () => {
    expect(Buffer.from(encodeCommand(put)).toString("hex")).toBe(
      "0184a9726571756573744964a27231a86174556e69784d73cb4278bcfe56800000a56163746f7282a46b696e64a5746f6b656ea26964a174" +
        "a4626f647983a474797065a66b762e707574a36b6579a16ba576616c7565a176",
    );
  });

  it("keeps its bytes of format 2, which only the commands carry that format 1 does not know", () => {
    const token = { id: "t", endpointId: "ab".repeat(32), name: "ops", role: "admin", createdUnixMs: 1 } as const;
    const create: Command = { ...put, body: { type: "token.create", token, ticketId: "k" } };
    expect(Buffer.from(encodeCommand(create)).toString("hex")).toBe(
      "0284a9726571756573744964a27231a86174556e69784d73cb4278bcfe56800000a56163746f7282a46b696e64a5746f6b656ea26964a1" +
        "74a4626f647983a474797065ac746f6b656e2e637265617465a5746f6b656e85a26964a174aa656e64706f696e744964d9406162616261" +
        "62616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162" +
        "61626162a46e616d65a36f7073a4726f6c65a561646d696ead63726561746564556e69784d7301a87469636b65744964a16b",
    );
    expect(decodeCommand(encodeCommand(create))).toEqual(create);
    expect(encodeCommand({ ...put, body: { type: "token.revoke", tokenId: "t" } })[0]).toBe(2);
  });

  it("refuses a command over the limit", () => {
    const huge: Command = { ...put, body: { type: "kv.put", key: "k", value: "v".repeat(2 * 1024 * 1024) } };
    expect(() => encodeCommand(huge)).toThrow(expect.objectContaining({ code: "VALUE_TOO_LARGE" }));
  });
});

describe("decodeCommand", () => {
  it("reads what was written, without fields that are undefined", () => {
    const desire: Command = { ...put, ifMatchIndex: 4, body: { type: "node.update", nodeId: 2, cordoned: true } };
    expect(decodeCommand(encodeCommand(desire))).toEqual(desire);
    expect(decodeValue(encodeValue({ a: 1, b: undefined }))).toEqual({ a: 1 });
    expect(encodeValue({ a: 1, b: undefined })).toEqual(encodeValue({ a: 1 }));
  });

  it.each([
    ["another format", Uint8Array.of(9, 1, 2), "UNSUPPORTED_VERSION"],
    ["no bytes", new Uint8Array(0), "UNSUPPORTED_VERSION"],
    ["garbage", Uint8Array.of(1, 0xc1, 0xff), "INVALID_ARGUMENT"],
    ["an unknown command", Uint8Array.from([1, ...encodeValue({ ...put, body: { type: "no" } })]), "INVALID_ARGUMENT"],
    [
      "a negative node",
      Uint8Array.from([1, ...encodeValue({ ...put, body: { type: "node.remove", nodeId: -1 } })]),
      "INVALID_ARGUMENT",
    ],
  ])("refuses %s", (_, bytes, code) => {
    expect(() => decodeCommand(bytes)).toThrow(expect.objectContaining({ code }));
  });
});
