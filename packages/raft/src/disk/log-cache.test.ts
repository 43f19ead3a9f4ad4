import { describe, expect, it } from "@jest/globals";
import { entriesSizeBytes } from "../core/entry-size.ts";
import { emptyConfState } from "../core/tracker.ts";
import { asLogIndex, asTerm, type Entry, noNode } from "../core/types.ts";
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
});
