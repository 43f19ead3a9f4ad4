import { describe, expect, it } from "@jest/globals";
import { entriesSizeBytes } from "../core/entry-size.ts";
import { emptyConfState } from "../core/tracker.ts";
import { asLogIndex, asNodeId, asTerm, type ConfChange, type Entry, noNode } from "../core/types.ts";
import { LogCache } from "./log-cache.ts";

const at = (index: number) => ({ index: asLogIndex(index), term: asTerm(1) });
const entries = Array.from(
  { length: 10 },
  (_, offset): Entry => ({ ...at(offset + 1), kind: "normal", data: new Uint8Array(offset * 10) }),
);

describe("LogCache", () => {
  it.each([1, 4, 5, 6, 9, 10])("counts the bytes of what is left after a compaction to %i", (index) => {
    const hardState = { term: asTerm(1), vote: noNode, commit: asLogIndex(0) };
    const cache = new LogCache({ base: at(0), entries: [], hardState }, emptyConfState(), undefined);
    cache.append(entries);
    cache.compact(at(index));
    const left = entries.slice(index);
    expect([cache.firstIndex(), cache.length, cache.bytes]).toEqual([index + 1, left.length, entriesSizeBytes(left)]);
    expect(cache.retained(cache.firstIndex(), cache.lastIndex(), Number.POSITIVE_INFINITY)).toEqual(left);
  });

  it("gives the configuration changes behind an index, also when the log begins higher up", () => {
    const hardState = { term: asTerm(1), vote: noNode, commit: asLogIndex(0) };
    const cache = new LogCache({ base: at(2), entries: entries.slice(2, 5), hardState }, emptyConfState(), undefined);
    const change = (id: number): ConfChange => {
      return { version: 1, transition: "auto", changes: [{ op: "addVoter", id: asNodeId(id) }] };
    };
    cache.append([6, 7].map((index): Entry => ({ ...at(index), kind: "confChange", change: change(index) })));
    cache.append([{ ...at(8), kind: "normal", data: new Uint8Array(1) }]);
    expect([0, 5, 6, 7, 8, 9].map((index) => cache.changesAfter(asLogIndex(index)))).toEqual([
      [change(6), change(7)],
      [change(6), change(7)],
      [change(7)],
      [],
      [],
      [],
    ]);
    cache.append([{ ...at(7), kind: "normal", data: new Uint8Array(1) }]);
    expect(cache.changesAfter(asLogIndex(0))).toEqual([change(6)]);
  });
});
