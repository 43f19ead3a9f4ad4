/** Damage in the log on a real LevelDB, and what gets the entries back. */
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromUtf8, seededRandom } from "@blixard/common";
import type { LogCandidate, LogContents, LogLoadOptions } from "@blixard/raft";
import { asLogIndex, asNodeId, asTerm, type Entry, type LogIndex } from "@blixard/raft/core";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { flipBit } from "./faults/flip-bit.ts";
import { blockKey, hardStateKey } from "./keys.ts";
import { LevelHandle } from "./level-handle.ts";
import { openLevelStorage } from "./open-level-storage.ts";

const entriesMax = 600;
const perAppend = 3;
const entry = (index: number, text = `entry ${index} ${"x".repeat(200)}`): Entry => ({
  term: asTerm(1),
  index: asLogIndex(index),
  kind: "normal",
  data: fromUtf8(text),
});
const run = (first: number, last: number): Entry[] =>
  Array.from({ length: last - first + 1 }, (_, at) => entry(first + at));
const hardState = { term: asTerm(1), vote: asNodeId(1), commit: asLogIndex(0) };

let root = "";
let dataDir = "";

/** A log of about 150 KiB in a write-ahead log of LevelDB, as after a SIGKILL. */
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-repair-"));
  dataDir = join(root, "store");
  const storage = await openLevelStorage({ dataDir });
  await storage.log.load();
  for (let first = 1; first <= entriesMax; first += perAppend) {
    await storage.log.append({ entries: run(first, first + perAppend - 1), hardState });
  }
  await storage.close();
});

afterEach(() => rm(root, { recursive: true }));

/** Opening once more turns the write-ahead log into a table. */
async function intoTable(): Promise<void> {
  await (await openLevelStorage({ dataDir })).close();
}

async function logFile(name: RegExp): Promise<string> {
  const [file] = (await readdir(join(dataDir, "log"))).filter((one) => name.test(one)).sort();
  return join(dataDir, "log", file ?? "none");
}

/** Flips a bit in the bytes of this entry, wherever they are in the file. */
async function damageEntry(path: string, index: number): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.indexOf(`entry ${index} xxx`);
  expect(at).toBeGreaterThan(0);
  await flipBit(path, at + 20);
}

/** Peers that answer one after the other, and what they were asked for. */
function peers(...answers: readonly ((first: LogIndex, last: LogIndex) => Entry[])[]) {
  const asked: string[] = [];
  async function* repairFrom(first: LogIndex, last: LogIndex): AsyncIterable<LogCandidate> {
    for (const [at, answer] of answers.entries()) {
      asked.push(`${at + 1}: ${first} to ${last}`);
      yield { from: `node ${at + 1}`, entries: answer(first, last) };
    }
  }
  return { asked, repairFrom };
}

const honest = (first: number, last: number) => run(first, last);

async function load(options: LogLoadOptions = {}) {
  const storage = await openLevelStorage({ dataDir });
  try {
    const contents = await storage.log.load(options);
    return { contents, health: storage.health };
  } finally {
    await storage.close();
  }
}

function expectWhole({ entries, base, hardState: found }: LogContents): void {
  expect([base.index, found]).toEqual([0, hardState]);
  expect(entries.map(({ index }) => index)).toEqual(run(1, entriesMax).map(({ index }) => index));
  for (const one of entries) expect(one).toEqual(entry(one.index));
}

describe("LevelLogStore.load of a damaged log", () => {
  it.each(["a write-ahead log", "a table"])(
    "takes what %s has lost from a peer, and is whole from then on",
    async (where) => {
      if (where === "a table") await intoTable();
      await damageEntry(await logFile(where === "a table" ? /\.ldb$/ : /\.log$/), 100);
      await expect(load()).rejects.toMatchObject({ code: "STORAGE_CORRUPT", message: expect.stringContaining("lost") });
      const { asked, repairFrom } = peers(honest);
      const repaired = await load({ repairFrom });
      expectWhole(repaired.contents);
      expect(repaired.health).toMatchObject({ corruptions: 1, repairs: 1 });
      expect(asked).toEqual([expect.stringMatching(/^1: \d+ to \d+$/)]);
      const again = await load();
      expectWhole(again.contents);
      expect(again.health).toMatchObject({ corruptions: 0, repairs: 0 });
      expect(await readdir(join(dataDir, "log.damaged"))).not.toEqual([]);
    },
  );

  it("asks the next peer when one gives other entries than those that were lost", async () => {
    await damageEntry(await logFile(/\.log$/), 100);
    const wrongText = (first: number, last: number) => [entry(first, "a lie"), ...run(first + 1, last)];
    const wrongTerm = (first: number, last: number) => run(first, last).map((one) => ({ ...one, term: asTerm(2) }));
    const tooFew = (first: number, last: number) => run(first, last - 1);
    const elsewhere = (first: number, last: number) => run(first + 1, last + 1);
    const liars = peers(wrongText, wrongTerm, tooFew, elsewhere);
    await expect(load(liars)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(liars.asked.length).toBe(4);
    const { asked, repairFrom } = peers(wrongText, honest, wrongTerm);
    expectWhole((await load({ repairFrom })).contents);
    expect(asked.length).toBe(2);
  });

  it("repairs several holes, of which a table lost the end of the log", async () => {
    // LevelDB ends a block of a table at 4 KiB: behind this entry, and before the record of the log's end.
    const large = entry(entriesMax + 1, `entry 601 ${"x".repeat(8_000)}`);
    const storage = await openLevelStorage({ dataDir });
    await storage.log.load();
    await storage.log.append({ entries: [large], hardState });
    await storage.close();
    await intoTable();
    // The second opening made another table.
    const tables = (await readdir(join(dataDir, "log"))).filter((name) => name.endsWith(".ldb")).sort();
    const [old = "", young = ""] = tables.map((name) => join(dataDir, "log", name));
    for (const index of [1, 300]) await damageEntry(old, index);
    await damageEntry(young, 601);
    const answer = (first: number, last: number) => (last === 601 ? [...run(first, 600), large] : run(first, last));
    const { contents, health } = await load(peers(answer));
    expect(contents.entries.length).toBe(entriesMax + 1);
    expect(contents.entries.at(-1)).toEqual(large);
    expect(health).toMatchObject({ corruptions: 3, repairs: 3 });
  });

  it("refuses a write-ahead log that is damaged where nothing proves what was lost, and changes nothing", async () => {
    const path = await logFile(/\.log$/);
    await damageEntry(path, entriesMax);
    const before = await readFile(path);
    const { asked, repairFrom } = peers(honest);
    await expect(load({ repairFrom })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(asked).toEqual([]);
    expect(await readFile(path)).toEqual(before);
  });

  it("refuses a table whose damage may hide a newer end of the log", async () => {
    await intoTable();
    const table = await logFile(/\.ldb$/);
    const bytes = await readFile(table);
    const head = bytes.indexOf(hardStateKey, bytes.indexOf(`entry ${entriesMax} xxx`) + 200);
    await flipBit(table, head);
    await expect(load(peers(honest))).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  });

  it("does not go back to entries whose replacement was lost, although they fit together", async () => {
    const storage = await openLevelStorage({ dataDir });
    await storage.log.load();
    await storage.log.append({ entries: run(601, 700), hardState });
    const replaced = { ...entry(650, `entry 650 ${"x".repeat(200)} anew`), term: asTerm(2) };
    await storage.log.append({ entries: [replaced], hardState: { ...hardState, term: asTerm(2) } });
    // A good write behind the lost one, which says nothing about the end of the log.
    await storage.log.compact({ index: asLogIndex(10), term: asTerm(1) });
    await storage.close();
    const path = await logFile(/\.log$/);
    await flipBit(path, (await readFile(path)).lastIndexOf("anew"));
    const { asked, repairFrom } = peers(honest);
    await expect(load({ repairFrom })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(asked).toEqual([]);
  });

  it("does without a peer where a snapshot stands for what was lost", async () => {
    await damageEntry(await logFile(/\.log$/), 100);
    const snapshot = { index: asLogIndex(400), term: asTerm(1) };
    const { contents, health } = await load({ snapshot });
    expect(contents.base).toEqual(snapshot);
    expect(contents.entries).toEqual(run(401, entriesMax));
    expect(health).toMatchObject({ corruptions: 1, repairs: 1 });
    expect((await load()).contents.base).toEqual(snapshot);
  });

  it("does not take a snapshot that ends inside the hole for an answer", async () => {
    await damageEntry(await logFile(/\.log$/), 100);
    await expect(load({ snapshot: { index: asLogIndex(100), term: asTerm(1) } })).rejects.toMatchObject({
      code: "STORAGE_CORRUPT",
    });
  });

  it("goes on with the log after a repair, and with the rest of a replacement that a crash interrupted", async () => {
    await damageEntry(await logFile(/\.log$/), 100);
    const storage = await openLevelStorage({ dataDir });
    await storage.log.load(peers(honest));
    await storage.log.append({ entries: [entry(590, "new"), entry(591, "new")], hardState });
    await storage.log.compact({ index: asLogIndex(150), term: asTerm(1) });
    await storage.close();
    await cp(join(dataDir, "log"), join(dataDir, "log.salvaged"), { recursive: true });
    await rm(join(dataDir, "log"), { recursive: true });
    const { contents } = await load();
    expect(contents.base.index).toBe(150);
    expect(contents.entries.length).toBe(591 - 150);
    expect(contents.entries.at(-1)).toEqual(entry(591, "new"));
  });

  it("repairs a block whose own checksum fails in files that are whole", async () => {
    const handle = await LevelHandle.open({ location: join(dataDir, "log"), createIfMissing: false });
    await handle.write([{ type: "put", key: blockKey(100), value: Buffer.from("not a record") }], { sync: true });
    await handle.close();
    await expect(load()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    const { asked, repairFrom } = peers(honest);
    const { contents, health } = await load({ repairFrom });
    expectWhole(contents);
    expect(asked).toEqual(["1: 100 to 102"]);
    expect(health).toMatchObject({ corruptions: 1, repairs: 1 });
  });

  it("finds a log that is older than its end, although all of it fits together", async () => {
    const handle = await LevelHandle.open({ location: join(dataDir, "log"), createIfMissing: false });
    await handle.write([{ type: "del", key: blockKey(entriesMax - 2) }], { sync: true });
    await handle.close();
    await expect(load()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expectWhole((await load(peers(honest))).contents);
  });

  it("never gives another log than the one that was written, wherever bits are flipped", async () => {
    const seed = 7;
    const random = seededRandom(seed);
    const outcomes = new Map<string, number>();
    const good = join(root, "good");
    for (const part of [/\.log$/, /\.ldb$/]) {
      await rm(good, { recursive: true, force: true });
      await cp(dataDir, good, { recursive: true });
      for (let round = 0; round < 8; round++) {
        const path = await logFile(part);
        const bits = (await readFile(path)).length;
        await flipBit(path, Math.floor(random.next() * bits));
        if (round % 3 === 0) await flipBit(path, Math.floor(random.next() * bits));
        const outcome = await load(peers(honest)).then(
          ({ contents }) => expectWhole(contents) ?? "repaired",
          (error: { readonly code?: string }) => error.code ?? String(error),
        );
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        await rm(dataDir, { recursive: true });
        await cp(good, dataDir, { recursive: true });
      }
      await intoTable();
    }
    expect({ seed, outcomes: [...outcomes.keys()].sort() }).toEqual({
      seed,
      outcomes: ["STORAGE_CORRUPT", "repaired"],
    });
    expect(outcomes.get("repaired")).toBeGreaterThan(8);
  });
});
