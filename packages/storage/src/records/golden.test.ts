/**
 * The bytes on disk. A change here is a change of the format: give it a new version, and keep reading the old one.
 */

import { fromUtf8, toHex } from "@blixard/common";
import { asLogIndex, asNodeId, asTerm, type Entry } from "@blixard/raft/core";
import { describe, expect, it } from "@jest/globals";
import { blockKey, chunkKey, generationKey, journalKey, tableKeys } from "../level/keys.ts";
import { decodeEntryBlock, encodeEntryBlock } from "./entry-block.ts";
import { packHead, unpackHead } from "./log-head.ts";
import { pack, plainApplied, unpack } from "./packed.ts";
import { openRecord, recordHeaderBytes, sealRecord } from "./record.ts";

const entries: readonly Entry[] = [
  { term: asTerm(2), index: asLogIndex(7), kind: "normal", data: fromUtf8("hi") },
  { term: asTerm(2 ** 40), index: asLogIndex(8), kind: "normal", data: new Uint8Array(0) },
  {
    term: asTerm(3),
    index: asLogIndex(9),
    kind: "confChange",
    change: { version: 1, transition: "auto", changes: [{ op: "addLearner", id: asNodeId(300) }] },
  },
];
const block =
  "0102030400000003" +
  "00000000000000020000000002" +
  "6869" +
  "00000100000000000000000000" +
  "00000000000000030100000038" +
  "83a776657273696f6e01aa7472616e736974696f6ea46175746fa76368616e67657391" +
  "82a26f70aa6164644c6561726e6572a26964cd012c";

/** Releases before the end of the log was stored wrote three fields. */
const oldHeadBytes = "83a47465726d07a4766f746502a6636f6d6d6974cd012c";
/** Later ones wrote no number of the write. */
const unnumberedHeadBytes = "85a47465726d07a4766f746502a6636f6d6d6974cd012ca46c617374cd012da5636861696ece89abcdef";
const headBytes =
  "86a47465726d07a4766f746502a6636f6d6d6974cd012ca46c617374cd012da5636861696ece89abcdefa6777269746573cd012e";

const appliedBytes =
  "83a5696e646578cb4200000000000000a47465726d05a9636f6e665374617465" +
  "85a6766f74657273920102ae766f746572734f7574676f696e6790a86c6561726e6572739103ac6c6561726e6572734e65787490" +
  "a96175746f4c65617665c2";

describe("the format on disk", () => {
  it("has the golden bytes of a block of entries", () => {
    const { record, chainAfter } = encodeEntryBlock(entries, 0x01020304);
    expect(toHex(record.subarray(recordHeaderBytes))).toBe(block);
    expect(chainAfter.toString(16)).toBe("450c52cd");
    const { chains } = decodeEntryBlock(Buffer.from(block, "hex"), asLogIndex(7));
    expect(chains.map((chain) => chain.toString(16))).toEqual(["2dc513b", "882477ec", "450c52cd"]);
  });

  it("reads the golden bytes of a block of entries", () => {
    const decoded = decodeEntryBlock(Buffer.from(block, "hex"), asLogIndex(7));
    expect(decoded.chainBefore).toBe(0x01020304);
    expect(decoded.entries.map((entry) => ({ ...entry }))).toEqual(entries.map((entry) => ({ ...entry })));
  });

  it("has the golden bytes of a sealed record, and refuses it with any bit flipped or under another key", () => {
    const sealed = sealRecord(fromUtf8("key"), fromUtf8("value"));
    expect(toHex(sealed)).toBe("01c9cd4c7c76616c7565");
    expect(openRecord(fromUtf8("key"), sealed).toString()).toBe("value");
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const damaged = Buffer.from(sealed);
      const at = bit >> 3;
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (bit & 7));
      expect(() => openRecord(fromUtf8("key"), damaged)).toThrow(expect.objectContaining({ code: "STORAGE_CORRUPT" }));
    }
    expect(() => openRecord(fromUtf8("kez"), sealed)).toThrow(expect.objectContaining({ code: "STORAGE_CORRUPT" }));
  });

  it("has the golden bytes of the hard state with the end of the log, and reads those without one or a number", () => {
    const hardState = { term: asTerm(7), vote: asNodeId(2), commit: asLogIndex(300) };
    const end = { last: asLogIndex(301), chain: 0x89abcdef };
    expect(toHex(packHead(hardState, end, 302))).toBe(headBytes);
    expect(unpackHead(Buffer.from(headBytes, "hex"))).toEqual({ hardState, end, writes: 302 });
    expect(unpackHead(Buffer.from(unnumberedHeadBytes, "hex"))).toEqual({ hardState, end, writes: undefined });
    expect(unpackHead(Buffer.from(oldHeadBytes, "hex"))).toEqual({ hardState, end: undefined, writes: undefined });
  });

  it("has the golden bytes of an applied position", () => {
    const confState = {
      voters: [asNodeId(1), asNodeId(2)],
      votersOutgoing: [],
      learners: [asNodeId(3)],
      learnersNext: [],
      autoLeave: false,
    };
    const applied = plainApplied({ index: asLogIndex(2 ** 33), term: asTerm(5), confState });
    const bytes = pack(applied);
    expect(toHex(bytes)).toBe(appliedBytes);
    expect(unpack(bytes, "it")).toEqual(applied);
  });

  it("has the golden bytes of the keys, which sort as their numbers do", () => {
    expect(toHex(blockKey(2 ** 33 + 1))).toBe("650000000200000001");
    expect(toHex(chunkKey(1, 258))).toBe("630000000100000102");
    expect(toHex(generationKey(2, "a"))).toBe("670000000261");
    expect(toHex(journalKey(2, 9))).toBe("67000000026a0000000000000009");
    expect(toHex(tableKeys(2, "kv")(fromUtf8("a")))).toBe("670000000272026b7661");
  });
});
