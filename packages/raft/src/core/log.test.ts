import { beforeEach, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { after, before, plus } from "./indexes.ts";
import { RaftLog } from "./log.ts";
import { MemoryStorage } from "./testing/memory-storage.ts";
import { emptyConfState } from "./tracker.ts";
import { asLogIndex, asTerm, type Entry, type Snapshot } from "./types.ts";
import { Unstable } from "./unstable.ts";

const at = asLogIndex;
const entry = (index: number, term: number, bytes = 0): Entry => ({
  index: at(index),
  term: asTerm(term),
  kind: "normal",
  data: new Uint8Array(bytes),
});
const run = (from: number, terms: readonly number[]): Entry[] => terms.map((term, n) => entry(from + n, term));
const snapshot = (index: number, term: number): Snapshot => ({
  index: at(index),
  term: asTerm(term),
  confState: emptyConfState(),
  data: new Uint8Array(),
});
const idsOf = (entries: readonly Entry[] | undefined) => entries?.map(({ index, term }) => `${term}/${index}`);

describe("RaftLog", () => {
  let storage: MemoryStorage;
  let log: RaftLog;

  beforeEach(() => {
    storage = new MemoryStorage();
    storage.append(run(1, [1, 1, 2]));
    log = new RaftLog(storage, Number.POSITIVE_INFINITY);
    log.append(run(4, [2, 3, 3]));
  });

  it("continues storage by the unstable tail", () => {
    expect(log.lastIndex).toBe(6);
    expect([0, 1, 3, 4, 6, 7].map((index) => log.termOf(at(index)))).toEqual([0, 1, 2, 2, 3, undefined]);
    expect(idsOf(log.slice(at(2), at(6), 1000))).toEqual(["1/2", "2/3", "2/4", "3/5"]);
  });

  it("finds the first entry that is new or differs", () => {
    expect(log.findConflict(run(3, [2, 2, 3]))).toBe(-1);
    expect(log.findConflict(run(3, [2, 2, 4]))).toBe(2);
    expect(log.findConflict(run(6, [3, 3]))).toBe(1);
  });

  it("finds where a log that has a lower term may still agree", () => {
    expect(log.findConflictByTerm(at(6), asTerm(2))).toBe(4);
    expect(log.findConflictByTerm(at(6), asTerm(1))).toBe(2);
    expect(log.findConflictByTerm(at(6), asTerm(0))).toBe(0);
  });

  it("replaces a conflicting tail, also one that storage has", () => {
    log.append(run(2, [4]));
    expect(log.lastIndex).toBe(2);
    expect(idsOf(log.entriesFrom(at(1), 1000))).toEqual(["1/1", "4/2"]);
  });

  it("never replaces what is committed", () => {
    log.commitTo(at(4));
    expect(() => log.append(run(4, [9]))).toThrow("committed");
    expect(() => log.commitTo(at(7))).toThrow("behind the end");
  });

  it("cuts a range by size, but gives at least one entry", () => {
    expect(idsOf(log.entriesFrom(at(1), 0))).toEqual(["1/1"]);
    expect(idsOf(log.entriesFrom(at(1), 32))).toEqual(["1/1", "1/2", "2/3", "2/4"]);
    expect(idsOf(log.entriesFrom(at(1), 31))).toEqual(["1/1", "1/2", "2/3"]);
    expect(idsOf(log.entriesFrom(at(4), 17))).toEqual(["2/4", "3/5"]);
  });

  it("does not serve a range from memory that was replaced meanwhile", () => {
    log.entriesFrom(at(5), 1000);
    log.append(run(5, [4, 4]));
    expect(idsOf(log.entriesFrom(at(5), 1000))).toEqual(["4/5", "4/6"]);
  });

  it("says nothing about what was compacted", () => {
    storage.compact(at(2));
    expect(log.termOf(at(1))).toBeUndefined();
    expect(log.termOf(at(2))).toBe(1);
    expect(log.slice(at(2), at(4), 1000)).toBeUndefined();
  });

  it("commits by counting only in the current term", () => {
    expect(log.maybeCommit(at(4), asTerm(3))).toBe(false);
    expect(log.maybeCommit(at(5), asTerm(3))).toBe(true);
    expect(log.committed).toBe(5);
  });

  it("hands committed entries out within the limit, and pauses until they are applied", () => {
    const limited = new RaftLog(storage, 16);
    limited.commitTo(at(3));
    const first = limited.nextCommitted(true);
    expect(idsOf(first)).toEqual(["1/1", "1/2"]);
    limited.acceptApplying(at(2), 16, true);
    expect(limited.hasNextCommitted(true)).toBe(false);
    limited.appliedTo(at(2), 16);
    expect(idsOf(limited.nextCommitted(true))).toEqual(["2/3"]);
  });

  it("holds back committed entries that are not durable here", () => {
    log.commitTo(at(5));
    expect(idsOf(log.nextCommitted(false))).toEqual(["1/1", "1/2", "2/3"]);
    expect(idsOf(log.nextCommitted(true))).toEqual(["1/1", "1/2", "2/3", "2/4", "3/5"]);
  });

  it("applies a snapshot alone", () => {
    log.restore(snapshot(10, 5));
    expect(log).toMatchObject({ firstIndex: 11, lastIndex: 10, committed: 10, lastTerm: 5 });
    expect(log.hasNextCommitted(true)).toBe(false);
  });
});

describe("Unstable", () => {
  it("keeps a write that was replaced meanwhile", () => {
    const unstable = new Unstable(at(5));
    unstable.truncateAndAppend(run(5, [1, 1]), 0);
    unstable.acceptInProgress();
    unstable.truncateAndAppend(run(5, [2, 2]), 0);
    unstable.stableTo(at(6), asTerm(1));
    expect(unstable.length).toBe(2);
    expect(idsOf(unstable.nextEntries())).toEqual(["2/5", "2/6"]);
    unstable.stableTo(at(6), asTerm(2));
    expect(unstable).toMatchObject({ length: 0, offset: 7 });
  });

  it("behaves like a plain list", () => {
    const action = fc.oneof(
      fc.record({ append: fc.integer({ min: 1, max: 1500 }), back: fc.integer({ min: 0, max: 3 }) }),
      fc.record({ stable: fc.integer({ min: 0, max: 1200 }) }),
      fc.constant({ accept: true }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const unstable = new Unstable(at(1));
        let list: Entry[] = [];
        let first = at(1);
        let handedOut = at(1);
        let term = 0;
        for (const step of actions) {
          if ("append" in step) {
            term++;
            const from = at(Math.max(1, first + list.length - step.back));
            const added = run(from, new Array(step.append).fill(term));
            unstable.truncateAndAppend(added, 0);
            list = list.filter(({ index }) => index < from).concat(added);
            first = at(Math.min(first, from));
            handedOut = at(Math.min(handedOut, from));
          } else if ("stable" in step) {
            const last = list[Math.min(step.stable, list.length) - 1];
            if (last === undefined) continue;
            unstable.stableTo(last.index, last.term);
            list = list.filter(({ index }) => index > last.index);
            first = after(last.index);
            handedOut = at(Math.max(handedOut, first));
          } else {
            unstable.acceptInProgress();
            handedOut = plus(first, list.length);
          }
          const end = plus(first, list.length);
          expect(unstable).toMatchObject({ length: list.length, offset: first });
          expect(unstable.lastIndex).toBe(list.length === 0 ? undefined : before(end));
          expect(unstable.hasNextEntries).toBe(handedOut < end);
          expect(idsOf(unstable.nextEntries())).toEqual(idsOf(list.filter(({ index }) => index >= handedOut)));
          expect(idsOf(unstable.slice(first, end, Number.POSITIVE_INFINITY))).toEqual(idsOf(list));
        }
      }),
      { numRuns: 60 },
    );
  });
});
