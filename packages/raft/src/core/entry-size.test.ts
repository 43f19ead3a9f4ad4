import { describe, expect, it } from "@jest/globals";
import { confChangeBytes, entrySizeBytes, payloadBytes } from "./entry-size.ts";
import { asLogIndex, asNodeId, asTerm, type ConfChange, type ConfChangeOp, type Entry } from "./types.ts";

const change = (version: 1 | 2, ids: readonly number[], context?: Uint8Array): ConfChange => ({
  ...{ version, transition: "auto", changes: ids.map((id): ConfChangeOp => ({ op: "addVoter", id: asNodeId(id) })) },
  ...(context === undefined ? {} : { context }),
});
const entry = (of: ConfChange): Entry => ({ term: asTerm(1), index: asLogIndex(1), kind: "confChange", change: of });
const hexBytes = (hex: string) => hex.replaceAll(" ", "").length / 2;

// Encodings by raftpb of etcd-io/raft: field 1 is the id, 2 the type, 3 the node and 4 the context of a ConfChange;
// field 1 is the transition, 2 a change (1 the type, 2 the node) and 3 the context of a ConfChangeV2.
const encodings: readonly (readonly [string, ConfChange, string])[] = [
  ["v1, node 1", change(1, [1]), "0800 1000 1801"],
  ["v1, node 128", change(1, [128]), "0800 1000 188001"],
  ["v1, node 2^32", change(1, [2 ** 32]), "0800 1000 188080808010"],
  ["v1, node 1, a context", change(1, [1], new Uint8Array(3)), "0800 1000 1801 2203000000"],
  ["v2, none", change(2, []), "0800"],
  ["v2, node 127", change(2, [127]), "0800 1204 0800 107f"],
  ["v2, nodes 1 and 128", change(2, [1, 128]), "0800 1204 0800 1001 1205 0800 108001"],
  ["v2, node 2^32, an empty context", change(2, [2 ** 32], new Uint8Array(0)), "0800 1208 0800 108080808010 1a00"],
];

describe("confChangeBytes", () => {
  it.each(encodings)("counts the bytes of etcd's encoding: %s", (_, of, hex) => {
    expect(confChangeBytes(of)).toBe(hexBytes(hex));
  });

  it.each([
    [1, [2, 8, 14, 20, 26, 32]],
    [127, [2, 8, 14, 20, 26, 32]],
    [128, [2, 9, 16, 23, 30, 37]],
    [2 ** 32, [2, 12, 22, 32, 42, 52]],
  ])("counts 0 to 5 changes of node %d in version 2", (id, sizes) => {
    expect(sizes.map((_, count) => confChangeBytes(change(2, Array(count).fill(id))))).toEqual(sizes);
  });

  it("counts the length of a long context in as many bytes as it takes", () => {
    expect(confChangeBytes(change(2, [1], new Uint8Array(127)))).toBe(8 + 2 + 127);
    expect(confChangeBytes(change(2, [1], new Uint8Array(128)))).toBe(8 + 3 + 128);
  });
});

describe("payloadBytes", () => {
  it("is free for a change without content, and what is encoded for any other", () => {
    expect(payloadBytes(entry(change(2, [])))).toBe(0);
    expect(payloadBytes(entry(change(2, [], new Uint8Array(1))))).toBe(5);
    expect(payloadBytes(entry(change(1, [1])))).toBe(6);
    expect(payloadBytes(entry(change(2, [1, 2])))).toBe(14);
  });

  it("comes on top of 8 bytes in the size of an entry", () => {
    expect(entrySizeBytes(entry(change(2, [1, 2])))).toBe(8 + 14);
    expect(entrySizeBytes({ term: asTerm(1), index: asLogIndex(1), kind: "normal", data: new Uint8Array(5) })).toBe(13);
  });
});
