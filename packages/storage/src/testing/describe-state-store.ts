/** The conformance suite of the port StateStore. */
import { fromUtf8, toUtf8 } from "@blixard/common";
import type { AppliedState } from "@blixard/raft";
import { asLogIndex, asNodeId, asTerm } from "@blixard/raft/core";
import type { Reopenable, SuiteRunner } from "@blixard/raft/testing";
import type { StateChange, StateRecord, StateStore } from "../state-store.ts";

const at = (index: number): AppliedState => ({
  index: asLogIndex(index),
  term: asTerm(2),
  confState: { voters: [asNodeId(1)], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
});
const put = (table: string, key: string, value: string): StateChange & StateRecord => ({
  table,
  key: fromUtf8(key),
  value: fromUtf8(value),
});
const del = (table: string, key: string): StateChange => ({ table, key: fromUtf8(key), value: undefined });

async function listed(batches: AsyncIterable<readonly StateRecord[]>): Promise<string[]> {
  const all: string[] = [];
  for await (const batch of batches) {
    for (const { table, key, value } of batch) all.push(`${table}/${toUtf8(key)}=${toUtf8(value)}`);
  }
  return all;
}

async function* batchesOf(...batches: readonly StateRecord[][]): AsyncIterable<readonly StateRecord[]> {
  yield* batches;
}

export function describeStateStore(
  name: string,
  { describe, it, expect }: SuiteRunner,
  create: () => Promise<Reopenable<StateStore>>,
): void {
  const test = (title: string, run: (data: Reopenable<StateStore>) => Promise<void>) =>
    it(title, async () => {
      const data = await create();
      try {
        await run(data);
      } finally {
        await data.dispose();
      }
    });
  const opened = async (data: Reopenable<StateStore>): Promise<StateStore> => {
    const store = await data.open();
    await store.load();
    return store;
  };
  const expectReopened = async (data: Reopenable<StateStore>, index: number, records: readonly string[]) => {
    const store = await data.open();
    const loaded = await store.load();
    expect(loaded.applied.index).toEqual(index);
    expect(await listed(loaded.records)).toEqual(records);
    await store.close();
  };

  describe(`${name} as a StateStore`, () => {
    test("is empty at first", (data) => expectReopened(data, 0, []));

    test("keeps records and the applied position", async (data) => {
      const store = await opened(data);
      await store.write([put("kv", "a", "1"), put("kv", "b", "2"), put("vm", "a", "3")], at(5));
      await store.write([put("kv", "a", "4"), del("kv", "b"), del("kv", "none")], at(6));
      await store.write([], at(7));
      await store.flush();
      await store.write([put("kv", "c", "5")], at(8));
      await store.close();
      await expectReopened(data, 8, ["kv/a=4", "kv/c=5", "vm/a=3"]);
    });

    test("keeps tables apart whose names and keys run into each other", async (data) => {
      const store = await opened(data);
      await store.write([put("a", "bc", "1"), put("ab", "c", "2"), put("abc", "", "3")], at(1));
      await store.close();
      await expectReopened(data, 1, ["a/bc=1", "ab/c=2", "abc/=3"]);
    });

    test("replaces everything at once", async (data) => {
      const store = await opened(data);
      await store.write([put("kv", "old", "1")], at(5));
      await store.replaceAll(at(90), batchesOf([put("kv", "x", "1")], [], [put("kv", "y", "2")]));
      await store.write([put("kv", "z", "3")], at(91));
      await store.close();
      await expectReopened(data, 91, ["kv/x=1", "kv/y=2", "kv/z=3"]);
    });

    test("keeps the old state when a replacement fails, and replaces it the next time", async (data) => {
      const store = await opened(data);
      await store.write([put("kv", "old", "1")], at(5));
      const broken = (async function* () {
        yield [put("kv", "half", "1")];
        throw Object.assign(new Error("the source broke"), { code: "BROKEN" });
      })();
      await expect(store.replaceAll(at(90), broken)).rejects.toMatchObject({ code: "BROKEN" });
      await store.close();
      await expectReopened(data, 5, ["kv/old=1"]);
      const again = await opened(data);
      await again.replaceAll(at(90), batchesOf([put("kv", "x", "1")]));
      await again.close();
      await expectReopened(data, 90, ["kv/x=1"]);
    });

    test("reads a snapshot as it was when it was taken", async (data) => {
      const store = await opened(data);
      const many = Array.from({ length: 2_000 }, (_, key) => put("kv", `${key}`.padStart(5, "0"), "1"));
      await store.write(many, at(5));
      const { applied, records } = await store.snapshot();
      await store.write([put("kv", "00001", "2"), put("kv", "99999", "2")], at(6));
      expect(applied.index).toEqual(5);
      const seen = await listed(records);
      expect(seen.length).toEqual(2_000);
      expect(seen[1]).toEqual("kv/00001=1");
      const unread = await store.snapshot();
      await unread.close();
      await store.close();
    });

    test("takes overlapping calls in their order", async (data) => {
      const store = await opened(data);
      const calls = Array.from({ length: 100 }, (_, n) => store.write([put("kv", "n", `${n}`)], at(n + 1)));
      await Promise.all([...calls, store.flush()]);
      await store.close();
      await expectReopened(data, 100, ["kv/n=99"]);
    });

    test("refuses a table without a name", async (data) => {
      const store = await opened(data);
      await expect(store.write([put("", "a", "1")], at(1))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
      await store.write([put("kv", "a", "1")], at(1));
      await store.close();
    });
  });
}
