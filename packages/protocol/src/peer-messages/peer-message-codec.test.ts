import { errorCodeOf, fromHex, toHex } from "@blixard/common";
import type { Message, PeerMessage } from "@blixard/raft";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { decodeEntries, decodePeerMessages, encodeEntries, encodePeerMessages } from "./peer-message-codec.ts";

const message = (fields: object): Message =>
  ({
    type: "MsgHeartbeat",
    from: 1,
    to: 2,
    term: 3,
    logTerm: 0,
    index: 0,
    commit: 0,
    vote: 0,
    reject: false,
    rejectHint: 0,
    entries: [],
    ...fields,
  }) as object as Message;

const data = Uint8Array.of(1, 2, 3);
const samples: readonly PeerMessage[] = [
  { type: "raft", message: message({}) },
  { type: "raft", message: message({ type: "MsgHeartbeat", context: data, commit: 300 }) },
  {
    type: "raft",
    message: message({
      type: "MsgApp",
      logTerm: 3,
      index: 9,
      entries: [
        { term: 3, index: 10, kind: "normal", data },
        { term: 3, index: 11, kind: "normal", data: new Uint8Array() },
        {
          term: 4,
          index: 12,
          kind: "confChange",
          change: { version: 2, transition: "explicit", changes: [{ op: "remove", id: 7 }], context: data },
        },
      ],
    }),
  },
  { type: "raft", message: message({ type: "MsgAppResp", reject: true, rejectHint: 5, index: 8 }) },
  {
    type: "snapshotChunk",
    message: message({
      type: "MsgSnap",
      snapshot: {
        index: 100,
        term: 3,
        confState: { voters: [1, 2, 3], votersOutgoing: [], learners: [4], learnersNext: [], autoLeave: false },
        data: new Uint8Array(),
      },
    }),
    sizeBytes: 10,
    offset: 4,
    data,
  },
  { type: "snapshotAck", index: 100, term: 3, receivedBytes: 7, refused: false } as PeerMessage,
];

const name = { session: 2 ** 48 - 1, sequence: 300 };
/** Of later releases: forwarded proposals, and their answers. */
const forwarded = [
  { type: "proposal", term: 3, ...name, force: false, entry: { term: 0, index: 0, kind: "normal", data } },
  {
    type: "proposal",
    term: 3,
    ...name,
    force: true,
    entry: {
      term: 0,
      index: 0,
      kind: "confChange",
      change: { version: 1, transition: "auto", changes: [{ op: "addVoter", id: 7 }] },
    },
  },
  { type: "proposalAnswer", ...name, verdict: { type: "placed", index: 10, term: 3 } },
  { type: "proposalAnswer", ...name, verdict: { type: "refused", code: "CONFLICT", leaderId: 2, reason: "no" } },
] as object as readonly PeerMessage[];

/** One line for each sample. A change here is a change of the wire format and needs a new version byte. */
const golden = ["0101000600010203000000000000", "01010006040102030000ac0200000003010203"];

describe("encodePeerMessages", () => {
  it("writes the bytes that other releases read", () => {
    expect(samples.slice(0, 2).map((sample) => toHex(encodePeerMessages([sample])))).toEqual(golden);
    expect(toHex(encodePeerMessages(samples))).toMatchInlineSnapshot(
      `"01060006000102030000000000000006040102030000ac020000000301020300010001020303090000000300030a0301020306000504020201020701030102030002010102030008000005000105020102030000000000006403030102030001040000000a04030102030264030700"`,
    );
  });

  it("writes forwarded proposals and their answers as other releases read them", () => {
    expect(forwarded.map((message) => toHex(encodePeerMessages([message])))).toMatchInlineSnapshot(`
[
  "01010303ffffffffffff3fac020001020003010203",
  "01010303ffffffffffff3fac0201010300010001000700",
  "010104ffffffffffff3fac02000a03",
  "010104ffffffffffff3fac02010302026e6f",
]
`);
  });

  it("cuts a reason that is too long", () => {
    const verdict = { type: "refused", code: "CONFLICT", leaderId: 2, reason: "\u{1f600}".repeat(1_000) };
    const message = { type: "proposalAnswer", ...name, verdict } as object as PeerMessage;
    const [decoded] = decodePeerMessages(encodePeerMessages([message]));
    expect(decoded).toMatchObject({ verdict: { reason: "\u{1f600}".repeat(128) } });
  });

  it("takes two bytes beyond the data for an entry that follows its predecessor", () => {
    const entries = (count: number) =>
      Array.from({ length: count }, (_, at) => ({ term: 3, index: 10 + at, kind: "normal", data }));
    const size = (count: number) =>
      encodePeerMessages([{ type: "raft", message: message({ type: "MsgApp", entries: entries(count) }) }]).length;
    expect(size(9) - size(8)).toBe(data.length + 2);
  });

  it("refuses what never leaves its node", () => {
    for (const fields of [{ type: "MsgHup" }, { type: "MsgStorageAppend" }, { from: "append" }, { term: -1 }]) {
      expect(() => encodePeerMessages([{ type: "raft", message: message(fields) }])).toThrow("invariant");
    }
  });
});

describe("decodePeerMessages", () => {
  it("brings every message back", () => {
    expect(decodePeerMessages(encodePeerMessages(samples))).toEqual(samples);
    expect(decodePeerMessages(encodePeerMessages(forwarded))).toEqual(forwarded);
    expect(decodePeerMessages(encodePeerMessages([]))).toEqual([]);
  });

  it("refuses every cut and every appended byte", () => {
    const whole = encodePeerMessages([...samples, ...forwarded]);
    for (let length = 0; length < whole.length; length++) {
      expect(() => decodePeerMessages(whole.subarray(0, length))).toThrow();
    }
    expect(() => decodePeerMessages(Uint8Array.of(...whole, 0))).toThrow("left over");
  });

  const bytesOf = (hex: string) => fromHex(hex) ?? new Uint8Array();

  it.each([
    ["version of a batch", "0200"],
    ["kind of message", "010105"],
    ["refusal code", "0101040101010600026e6f"],
    ["type of a message of Raft", "01010011"],
    ["flag of a message", "0101000608"],
  ])("tells a %s of a later release from damage", (_, hex) => {
    expect(() => decodePeerMessages(bytesOf(hex))).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED_VERSION", message: expect.stringContaining("a later release") }),
    );
  });

  it.each([
    ["the version 0", "0000"],
    ["a proposal without an entry", "0101030301010000"],
    ["an integer that is not in its shortest form", "01010006008100"],
    ["an integer beyond 2^53", "0101000600ffffffffffffffff7f"],
    ["more messages than bytes", "01ffffff7f"],
    ["a boolean that is neither 0 nor 1", "01010264030702"],
    ["a chunk beyond its snapshot", "0101010600010203000000000000020003010203"],
  ])("refuses %s", (_, hex) => {
    expect(() => decodePeerMessages(bytesOf(hex))).toThrow(expect.objectContaining({ code: "FRAME_CORRUPT" }));
  });

  it("never does more than refuse, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        try {
          const decoded = decodePeerMessages(Uint8Array.of(1, ...noise));
          expect(encodePeerMessages(decoded).length).toBeGreaterThan(0);
        } catch (error) {
          expect(["FRAME_CORRUPT", "UNSUPPORTED_VERSION"]).toContain(errorCodeOf(error));
        }
      }),
    );
  });
});

describe("encodeEntries", () => {
  const sample = samples[2] as Extract<PeerMessage, { type: "raft" }>;
  const golden = "010300030a030102030600050402020102070103010203";

  const bytes = (hex: string) => fromHex(hex) ?? new Uint8Array();

  it("has golden bytes and reads them", () => {
    const { entries } = sample.message;
    expect(toHex(encodeEntries(entries))).toBe(golden);
    expect(decodeEntries(bytes(golden)).map((entry) => ({ ...entry }))).toEqual(entries);
  });

  it("refuses bytes that are cut off or of another version", () => {
    for (let length = 0; length < golden.length; length += 2) {
      expect(() => decodeEntries(bytes(golden.slice(0, length)))).toThrow();
    }
    expect(() => decodeEntries(bytes(`02${golden.slice(2)}`))).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED_VERSION" }),
    );
  });
});
