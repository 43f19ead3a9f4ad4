/** What a start reads of a log that goes far back behind a snapshot, on a real LevelDB. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromUtf8 } from "@blixard/common";
import type { LogLoadOptions } from "@blixard/raft";
import { asLogIndex, asNodeId, asTerm, type Entry } from "@blixard/raft/core";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { flipBit } from "./faults/flip-bit.ts";
import { blockKey, blockKeyIndex, blockKeys } from "./keys.ts";
import { LevelHandle } from "./level-handle.ts";
import { type LevelStorage, openLevelStorage } from "./open-level-storage.ts";

const entriesMax = 600;
const perAppend = 3;
const at = (index: number, term = 1) => ({ index: asLogIndex(index), term: asTerm(term) });
const entry = (index: number, term = 1): Entry => ({
  ...at(index, term),
  kind: "normal",
  data: fromUtf8(`entry ${index} ${"x".repeat(100)}`),
});
const run = (first: number, last: number): Entry[] =>
  Array.from({ length: last - first + 1 }, (_, offset) => entry(first + offset));
const hardState = { term: asTerm(1), vote: asNodeId(1), commit: asLogIndex(0) };
/** The wanted entries begin with 491, inside the block of 490 to 492. */
const wanted: LogLoadOptions = { snapshot: at(500), trailingEntries: 10 };

let dataDir = "";
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "blixard-passed-over-"));
  await withStorage(async ({ log }) => {
    await log.load();
    for (let first = 1; first <= entriesMax; first += perAppend) {
      await log.append({ entries: run(first, first + perAppend - 1), hardState });
    }
  });
});
afterEach(() => rm(dataDir, { recursive: true }));

async function withStorage<T>(work: (storage: LevelStorage) => Promise<T>): Promise<T> {
  const storage = await openLevelStorage({ dataDir });
  try {
    return await work(storage);
  } finally {
    await storage.close();
  }
}

const load = (options: LogLoadOptions = {}) =>
  withStorage(async (storage) => ({ ...(await storage.log.load(options)), health: storage.health }));

async function withLevel<T>(work: (handle: LevelHandle) => Promise<T>): Promise<T> {
  const handle = await LevelHandle.open({ location: join(dataDir, "log"), createIfMissing: false });
  try {
    return await work(handle);
  } finally {
    await handle.close();
  }
}

const damageBlocks = (...firsts: readonly number[]) =>
  withLevel((handle) =>
    handle.write(
      firsts.map((first) => ({ type: "put", key: blockKey(first), value: Buffer.from("not a record") })),
      { sync: true },
    ),
  );

/** The first index of each block that is stored. */
const storedBlocks = () =>
  withLevel(async (handle) => {
    const firsts: (number | undefined)[] = [];
    for await (const batch of handle.entries(blockKeys)) for (const [key] of batch) firsts.push(blockKeyIndex(key));
    return firsts;
  });

describe("LevelLogStore.load behind a snapshot", () => {
  it("gives only the entries that are wanted, and forgets nothing on the disk", async () => {
    const { base, entries } = await load(wanted);
    expect(base).toEqual(at(490));
    expect(entries).toEqual(run(491, entriesMax));
    expect((await load()).entries).toEqual(run(1, entriesMax));
    expect((await load({ snapshot: at(500), trailingEntries: 1_000 })).entries.length).toBe(entriesMax);
    expect((await load({ snapshot: at(500) })).entries.length).toBe(entriesMax);
    for (const trailingEntries of [0, 1, 2, 3]) {
      const some = await load({ snapshot: at(500), trailingEntries });
      expect([some.base, some.entries.length]).toEqual([at(500 - trailingEntries), 100 + trailingEntries]);
    }
  });

  it("starts although what it passes over is damaged, which reading all of it finds", async () => {
    await damageBlocks(1, 100, 484);
    const { base, entries, health } = await load(wanted);
    expect([base, entries.length, { corruptions: health.corruptions, repairs: health.repairs }]).toEqual([
      at(490),
      entriesMax - 490,
      { corruptions: 0, repairs: 0 },
    ]);
    await expect(load()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  });

  it.each([
    ["behind the snapshot", 502],
    ["at the end", entriesMax - 2],
  ])("does not start when what it needs is damaged %s, and repairs no more than that", async (_where, first) => {
    await damageBlocks(100, first);
    await expect(load(wanted)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    const asked: number[][] = [];
    async function* repairFrom(from: number, to: number) {
      asked.push([from, to]);
      yield { from: "node 2", entries: run(from, to) };
    }
    expect((await load({ ...wanted, repairFrom })).entries).toEqual(run(491, entriesMax));
    expect(asked).toEqual([[first, first + 2]]);
  });

  it.each([490, 493, 496])("finds damage at %i, for which the snapshot stands", async (first) => {
    await damageBlocks(first);
    const { base, entries, health } = await load(wanted);
    expect([base, health.corruptions]).toEqual([at(500), 1]);
    expect(entries).toEqual(run(501, entriesMax));
  });

  it("passes over what damaged files have lost there, for good", async () => {
    const [file = ""] = (await readdir(join(dataDir, "log"))).filter((name) => name.endsWith(".log"));
    const path = join(dataDir, "log", file);
    await flipBit(path, (await readFile(path)).indexOf("entry 100 xxx"));
    await withStorage(async (storage) => {
      expect((await storage.log.load(wanted)).entries).toEqual(run(491, entriesMax));
      expect(storage.health).toMatchObject({ corruptions: 1, repairs: 1 });
    });
    const again = await load();
    expect([again.base, again.entries.length]).toEqual([at(490), entriesMax - 490]);
  });

  it("asks for everything that is lost when it cannot see that the snapshot is one of this log", async () => {
    await damageBlocks(100, 499);
    await expect(load(wanted)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    async function* repairFrom(from: number, to: number) {
      yield { from: "node 2", entries: run(from, to) };
    }
    expect((await load({ ...wanted, repairFrom })).entries).toEqual(run(1, entriesMax));
    expect((await load(wanted)).base).toEqual(at(490));
  });

  it("gives everything when the snapshot is not that of this log", async () => {
    for (const snapshot of [at(500, 2), at(entriesMax + 50), at(entriesMax + 5)]) {
      const { base, entries } = await load({ snapshot, trailingEntries: 10 });
      expect([base, entries.length]).toEqual([at(0, 0), entriesMax]);
    }
  });

  it("finds a log that is older than its end", async () => {
    await withLevel((handle) => handle.write([{ type: "del", key: blockKey(entriesMax - 2) }], { sync: true }));
    await expect(load(wanted)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  });

  it("finds an older block in the place of the first that it reads", async () => {
    const key = blockKey(490);
    const older = await withLevel((handle) => handle.get(key));
    await withStorage(async ({ log }) => {
      await log.load();
      const replaced = Array.from({ length: 111 }, (_, offset) => entry(490 + offset, 2));
      await log.append({ entries: replaced.slice(0, 3), hardState });
      await log.append({ entries: replaced.slice(3), hardState });
    });
    const newer: LogLoadOptions = { ...wanted, snapshot: at(500, 2) };
    expect((await load(newer)).base).toEqual(at(490, 2));
    await withLevel((handle) => handle.write([{ type: "put", key, value: older ?? Buffer.alloc(0) }], { sync: true }));
    await expect(load(newer)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  });

  it.each(["compaction", "reset"])(
    "goes on with the log, and deletes what it passed over with the next %s",
    async (kind) => {
      await withStorage(async ({ log }) => {
        await log.load(wanted);
        const writes = [
          log.append({ entries: run(601, 602), hardState }),
          kind === "compaction" ? log.compact(at(550)) : log.reset(at(602), hardState),
          log.append({ entries: run(603, 604), hardState }),
        ];
        await Promise.all(writes);
      });
      expect(await storedBlocks()).toEqual(kind === "reset" ? [603] : expect.arrayContaining([550, 601, 603]));
      expect((await storedBlocks())[0]).toBe(kind === "reset" ? 603 : 550);
      const { base, entries } = await load();
      expect([base, entries.at(-1)?.index]).toEqual([at(kind === "reset" ? 602 : 550), 604]);
    },
  );

  it("reads nothing of what an interrupted compaction left below the base", async () => {
    const left = await withLevel((handle) => handle.get(blockKey(1)));
    await withStorage(async ({ log }) => {
      await log.load();
      await log.compact(at(400));
    });
    await withLevel((handle) =>
      handle.write([{ type: "put", key: blockKey(1), value: left ?? Buffer.alloc(0) }], { sync: true }),
    );
    await damageBlocks(4);
    const { base, health } = await load({ snapshot: at(500), trailingEntries: 50 });
    expect([base, health.corruptions]).toEqual([at(450), 0]);
  });
});
