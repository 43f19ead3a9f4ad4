/** The conformance suite of the port LogStore. */
import { fromUtf8 } from "@blixard/common";
import { asLogIndex, asNodeId, asTerm, type ConfChange, type Entry, type HardState } from "../core/types.ts";
import type { LogStore } from "../ports.ts";
import type { Reopenable, SuiteRunner } from "./suite-runner.ts";

const entry = (index: number, term: number, text = `${index}@${term}`): Entry => ({
  term: asTerm(term),
  index: asLogIndex(index),
  kind: "normal",
  data: fromUtf8(text),
});
const run = (from: number, to: number, term: number): Entry[] =>
  Array.from({ length: to - from + 1 }, (_, at) => entry(from + at, term));
const state = (term: number, vote: number, commit: number): HardState => ({
  term: asTerm(term),
  vote: asNodeId(vote),
  commit: asLogIndex(commit),
});
const base = (index: number, term: number) => ({ index: asLogIndex(index), term: asTerm(term) });

export function describeLogStore(
  name: string,
  { describe, it, expect }: SuiteRunner,
  create: () => Promise<Reopenable<LogStore>>,
): void {
  /** Runs `work` on a loaded store, then checks what a new start finds. */
  const check = (title: string, work: (store: LogStore) => Promise<void>, expected: Record<string, unknown>) =>
    it(title, async () => {
      const data = await create();
      try {
        const store = await data.open();
        await store.load();
        await work(store);
        await store.close();
        const again = await data.open();
        expect({ ...(await again.load()) }).toEqual(expected);
        await again.close();
      } finally {
        await data.dispose();
      }
    });
  const none = state(0, 0, 0);

  describe(`${name} as a LogStore`, () => {
    check("is empty at first", async () => {}, { base: base(0, 0), entries: [], hardState: none });
    check(
      "keeps entries and hard state",
      (store) => store.append({ entries: run(1, 3, 1), hardState: state(2, 1, 1) }),
      {
        base: base(0, 0),
        entries: run(1, 3, 1),
        hardState: state(2, 1, 1),
      },
    );
    check(
      "keeps the hard state alone, and the entries beside it",
      async (store) => {
        await store.append({ entries: run(1, 2, 1), hardState: state(1, 1, 0) });
        await store.append({ entries: [], hardState: state(5, 3, 2) });
      },
      { base: base(0, 0), entries: run(1, 2, 1), hardState: state(5, 3, 2) },
    );
    check(
      "replaces everything at and after the first new entry",
      async (store) => {
        await store.append({ entries: run(1, 5, 1) });
        await store.append({ entries: run(6, 8, 1) });
        await store.append({ entries: run(4, 4, 2) });
        await store.append({ entries: run(5, 7, 2) });
        await store.append({ entries: run(6, 6, 3) });
      },
      { base: base(0, 0), entries: [...run(1, 3, 1), ...run(4, 5, 2), entry(6, 3)], hardState: none },
    );
    check(
      "takes overlapping calls in their order",
      async (store) => {
        const calls = run(1, 200, 1).map((one) => store.append({ entries: [one] }));
        calls.push(store.append({ entries: run(150, 160, 2) }));
        await Promise.all(calls);
      },
      { base: base(0, 0), entries: [...run(1, 149, 1), ...run(150, 160, 2)], hardState: none },
    );
    check(
      "forgets entries up to the base of a compaction, which may cut through one append",
      async (store) => {
        await store.append({ entries: run(1, 10, 1) });
        await store.append({ entries: run(8, 20, 2) });
        await store.compact(base(12, 2));
        await store.compact(base(7, 1));
        await store.append({ entries: run(21, 22, 2) });
      },
      { base: base(12, 2), entries: run(13, 22, 2), hardState: none },
    );
    check(
      "appends after everything was compacted",
      async (store) => {
        await store.append({ entries: run(1, 10, 1) });
        await store.compact(base(10, 1));
        await store.append({ entries: run(11, 12, 1) });
      },
      { base: base(10, 1), entries: run(11, 12, 1), hardState: none },
    );
    check(
      "starts anew behind the base of a reset",
      async (store) => {
        await store.append({ entries: run(1, 10, 1) });
        await store.compact(base(4, 1));
        await store.reset(base(100, 7), state(7, 0, 100));
        await store.append({ entries: run(101, 102, 7) });
      },
      { base: base(100, 7), entries: run(101, 102, 7), hardState: state(7, 0, 100) },
    );
    check(
      "goes back with a reset to a base inside the log",
      async (store) => {
        await store.append({ entries: run(1, 10, 1) });
        await store.reset(base(5, 1), state(3, 2, 5));
      },
      { base: base(5, 1), entries: [], hardState: state(3, 2, 5) },
    );

    it("may leave out what nobody wants behind a snapshot, and nothing else", async () => {
      const data = await create();
      try {
        const store = await data.open();
        await store.load();
        for (let from = 1; from <= 50; from += 5) await store.append({ entries: run(from, from + 4, 1) });
        await store.close();
        const again = await data.open();
        const { base: found, entries } = await again.load({ snapshot: base(40, 1), trailingEntries: 8 });
        expect(found.index <= 32).toEqual(true);
        expect(entries).toEqual(run(found.index + 1, 50, 1));
        await again.append({ entries: run(51, 52, 1) });
        await again.compact(base(40, 1));
        await again.close();
        const third = await data.open();
        expect({ ...(await third.load()) }).toEqual({ base: base(40, 1), entries: run(41, 52, 1), hardState: none });
        await third.close();
      } finally {
        await data.dispose();
      }
    });

    const change: ConfChange = {
      version: 2,
      transition: "explicit",
      changes: [
        { op: "addVoter", id: asNodeId(65_535) },
        { op: "remove", id: asNodeId(2) },
      ],
      context: fromUtf8("why"),
    };
    const special: Entry[] = [
      { term: asTerm(1), index: asLogIndex(1), kind: "normal", data: new Uint8Array(0) },
      { term: asTerm(2 ** 53 - 1), index: asLogIndex(2), kind: "confChange", change },
      { term: asTerm(2 ** 53 - 1), index: asLogIndex(3), kind: "normal", data: new Uint8Array(1024 * 1024).fill(7) },
    ];
    it("keeps empty and large payloads, configuration changes and large terms", async () => {
      const data = await create();
      try {
        const store = await data.open();
        await store.load();
        await store.append({ entries: special });
        await store.close();
        const again = await data.open();
        const { entries } = await again.load();
        expect(entries.map(({ term, index, kind }) => [term, index, kind])).toEqual(
          special.map(({ term, index, kind }) => [term, index, kind]),
        );
        for (const [at, one] of entries.entries()) expect(plain(one)).toEqual(plain(special[at] as Entry));
        await again.close();
      } finally {
        await data.dispose();
      }
    });
  });
}

/** Bytes compare equal whatever class of byte array an adapter uses. */
function plain(entry: Entry): unknown {
  if (entry.kind === "normal") return Buffer.from(entry.data).toString("base64");
  const { context, ...change } = entry.change;
  return { ...change, context: context === undefined ? undefined : Buffer.from(context).toString("base64") };
}
