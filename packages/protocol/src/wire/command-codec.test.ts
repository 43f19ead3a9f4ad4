import { describe, expect, it } from "@jest/globals";
import { z } from "zod";
import { type Command, commands } from "../api/contract.ts";
import { command } from "../api/definitions.ts";
import { featureLevels } from "../api/feature-level.ts";
import { commandCodec, createCommandCodec, decodeCommand, encodeCommand } from "./command-codec.ts";
import { levelOfSchema } from "./schema-level.ts";
import { decodeValue, encodeValue } from "./wire-codec.ts";

const put: Command = {
  requestId: "r1",
  atUnixMs: 1_700_000_000_000,
  actor: { kind: "token", id: "t" },
  body: { type: "kv.put", key: "k", value: "v" },
};

/** What a later release may add: a command, a field, a value. */
const laterLevel = featureLevels.own + 1;
const later = createCommandCodec(
  {
    ...commands,
    "kv.put": command({
      since: 1,
      body: commands["kv.put"].body.extend({ ttlSeconds: z.int().meta({ since: laterLevel }).exactOptional() }),
    }),
    "vm.desire": command({
      since: 1,
      body: commands["vm.desire"].body.extend({
        desired: z.enum(["running", "stopped", "hibernated"]).meta({ sinceValue: { hibernated: laterLevel } }),
      }),
    }),
    "kv.rename": command({ since: laterLevel, body: z.object({ from: z.string(), to: z.string() }) }),
  },
  laterLevel,
);
const ofLater = (body: object): Command => ({ ...put, body: body as Command["body"] });
const desire = { type: "vm.desire", name: "web", newEpoch: false };
const newThings: readonly (readonly [string, object])[] = [
  ["a new command", { type: "kv.rename", from: "a", to: "b" }],
  ["a new field in an old command", { type: "kv.put", key: "k", value: "v", ttlSeconds: 5 }],
  ["a new value of an old field", { ...desire, desired: "hibernated" }],
];

describe("a table of commands", () => {
  it("is refused at once when the default of a field would raise the level of every entry", () => {
    const body = z.object({ key: z.string(), ttlSeconds: z.int().meta({ since: laterLevel }).default(0) });
    expect(() => createCommandCodec({ "kv.put": command({ since: 1, body }) }, laterLevel)).toThrow(
      expect.objectContaining({ code: "INVARIANT", message: expect.stringContaining("use .exactOptional()") }),
    );
  });
});

describe("the commands of this release", () => {
  it("need no level above that of the release, and consist of what has a level", () => {
    for (const { since, body } of Object.values(commands)) {
      expect(Math.max(since, levelOfSchema(body))).toBeLessThanOrEqual(featureLevels.own);
    }
  });

  it("need the level to which they raise the cluster", () => {
    const raise = (level: number) => commandCodec.levelOf({ ...put, body: { type: "cluster.setLevel", level } });
    expect([raise(2), raise(3), raise(7)]).toEqual([3, 3, 7]);
  });
});

describe("a command of the next release", () => {
  it.each(newThings)("with %s states its level, and needs an upgrade here", (_, body) => {
    const bytes = later.encode(ofLater(body));
    expect(bytes[0]).toBe(laterLevel);
    expect(later.decode(bytes)).toEqual(ofLater(body));
    expect(() => decodeCommand(bytes)).toThrow(expect.objectContaining({ code: "NEEDS_UPGRADE" }));
  });

  it("without anything new has the bytes of this release", () => {
    for (const body of [put.body, { ...desire, desired: "stopped" }]) {
      expect(later.encode(ofLater(body))).toEqual(encodeCommand(ofLater(body)));
    }
  });

  it.each(newThings)("with %s under a level that does not know it is refused by both releases alike", (_, body) => {
    const bytes = Uint8Array.from(later.encode(ofLater(body)));
    bytes[0] = featureLevels.own;
    for (const codec of [later, commandCodec]) {
      expect(() => codec.decode(bytes)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });

  it("loses a field under a level at which releases passed over what they did not know, alike as well", () => {
    const bytes = Uint8Array.from(later.encode(ofLater(newThings[1]?.[1] ?? {})));
    bytes[0] = featureLevels.base;
    for (const codec of [later, commandCodec]) expect(codec.decode(bytes)).toEqual(put);
  });
});

describe("encodeCommand", () => {
  it("keeps its bytes of level 1", () => {
    expect(Buffer.from(encodeCommand(put)).toString("hex")).toBe(
      "0184a9726571756573744964a27231a86174556e69784d73cb4278bcfe56800000a56163746f7282a46b696e64a5746f6b656ea26964a174" +
        "a4626f647983a474797065a66b762e707574a36b6579a16ba576616c7565a176",
    );
  });

  it("keeps its bytes of level 2, which only the commands carry that level 1 does not know", () => {
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

  it("keeps its bytes of level 3", () => {
    expect(Buffer.from(encodeCommand({ ...put, body: { type: "cluster.setLevel", level: 3 } })).toString("hex")).toBe(
      "0384a9726571756573744964a27231a86174556e69784d73cb4278bcfe56800000a56163746f7282a46b696e64a5746f6b656ea26964a1" +
        "74a4626f647982a474797065b0636c75737465722e7365744c6576656ca56c6576656c03",
    );
  });

  it("keeps its bytes of a ticket that is shown by a signature", () => {
    const ticket = { id: "k", proofKey: "ab".repeat(32), role: "voter", nodeName: null } as const;
    const record = { ...ticket, createdUnixMs: 1, expiresUnixMs: 2, usedBy: null, revoked: false };
    const create: Command = { ...put, body: { type: "ticket.create", ticket: record } };
    expect(Buffer.from(encodeCommand(create)).toString("hex")).toBe(
      "0384a9726571756573744964a27231a86174556e69784d73cb4278bcfe56800000a56163746f7282a46b696e64a5746f6b656ea26964" +
        "a174a4626f647982a474797065ad7469636b65742e637265617465a67469636b657488a26964a16ba870726f6f664b6579d940616261" +
        "626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261" +
        "62616261626162a4726f6c65a5766f746572a86e6f64654e616d65c0ad63726561746564556e69784d7301ad65787069726573556e69" +
        "784d7302a6757365644279c0a77265766f6b6564c2",
    );
    expect(decodeCommand(encodeCommand(create))).toEqual(create);
  });

  it.each<[string, object]>([
    ["a field that is not known", { type: "kv.put", key: "k", value: "v", ttlSeconds: 5 }],
    ["a value that is not allowed", { type: "node.remove", nodeId: -1 }],
    ["no known type", { type: "kv.rename", from: "a", to: "b" }],
  ])("refuses %s, which replicas would refuse after it was committed", (_, body) => {
    expect(() => encodeCommand(ofLater(body))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("refuses a command over the limit", () => {
    const huge: Command = { ...put, body: { type: "kv.put", key: "k", value: "v".repeat(2 * 1024 * 1024) } };
    expect(() => encodeCommand(huge)).toThrow(expect.objectContaining({ code: "VALUE_TOO_LARGE" }));
  });
});

describe("decodeCommand", () => {
  it("reads of bytes that it has just written what everybody else reads of them, once and again", () => {
    for (const body of [put.body, { type: "kv.cas", key: "k", from: null, to: "v" } as const]) {
      const bytes = encodeCommand({ ...put, body });
      const others = decodeCommand(Uint8Array.from(bytes));
      expect(decodeCommand(bytes)).toEqual(others);
      expect(decodeCommand(bytes)).toEqual(others);
    }
  });

  it("knows no command of a release with other commands, also where it has the very bytes", () => {
    const bytes = later.encode(ofLater({ type: "kv.rename", from: "a", to: "b" }));
    expect(() => createCommandCodec(commands, laterLevel).decode(bytes)).toThrow("not a command");
    const low = later.encode(ofLater({ type: "kv.rename", from: "a", to: "b" }));
    expect(() => decodeCommand(low)).toThrow("cannot be read");
  });

  it("reads what was written, without fields that are undefined", () => {
    const desire: Command = { ...put, ifMatchIndex: 4, body: { type: "node.update", nodeId: 2, cordoned: true } };
    expect(decodeCommand(encodeCommand(desire))).toEqual(desire);
    expect(decodeValue(encodeValue({ a: 1, b: undefined }))).toEqual({ a: 1 });
    expect(encodeValue({ a: 1, b: undefined })).toEqual(encodeValue({ a: 1 }));
  });

  it.each([
    ["a level above its own", Uint8Array.of(9, 1, 2), "NEEDS_UPGRADE"],
    ["no level", Uint8Array.of(0, 0x80), "INVALID_ARGUMENT"],
    ["no bytes", new Uint8Array(0), "INVALID_ARGUMENT"],
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
