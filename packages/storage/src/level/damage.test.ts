import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorCodeOf, fromUtf8, seededRandom } from "@blixard/common";
import { asLogIndex, asNodeId, asTerm, type Entry } from "@blixard/raft/core";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { flipBit } from "./faults/flip-bit.ts";
import { openLevelStorage } from "./open-level-storage.ts";

const entriesMax = 300;
const entry = (index: number): Entry => ({
  term: asTerm(1),
  index: asLogIndex(index),
  kind: "normal",
  data: fromUtf8(`entry ${index} ${"x".repeat(index % 50)}`),
});
const hardState = { term: asTerm(1), vote: asNodeId(1), commit: asLogIndex(0) };
const applied = (index: number) => ({
  index: asLogIndex(index),
  term: asTerm(1),
  confState: { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
});

let root = "";
let good = "";

/** A directory with a log whose last part is in a write-ahead log, as after a SIGKILL. */
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-damage-"));
  good = join(root, "good");
  const storage = await openLevelStorage({ dataDir: good });
  await storage.log.load();
  await storage.state.load();
  for (let index = 1; index <= entriesMax; index += 3) {
    await storage.log.append({ entries: [entry(index), entry(index + 1), entry(index + 2)], hardState });
    const value = fromUtf8(`${index}`);
    await storage.state.write([{ table: "kv", key: fromUtf8(`${index}`), value }], applied(index + 2));
  }
  await storage.close();
});

afterEach(async () => {
  await rm(root, { recursive: true });
});

/** What a start makes of a directory: everything that was acknowledged, or the code of the refusal. */
async function verdict(dataDir: string): Promise<string> {
  const storage = await openLevelStorage({ dataDir }).catch((error: unknown) => errorCodeOf(error) ?? "no code");
  if (typeof storage === "string") return storage;
  try {
    const { entries, hardState: found } = await storage.log.load();
    const loaded = await storage.state.load();
    let records = 0;
    for await (const batch of loaded.records) records += batch.length;
    const whole = entries.length === entriesMax && found.term === 1 && found.vote === 1;
    const state = records === loaded.applied.index / 3 ? "state consistent" : `state of ${records} records`;
    return `${whole ? "log whole" : `log of ${entries.length}`}, ${state}`;
  } catch (error) {
    return errorCodeOf(error) ?? "no code";
  } finally {
    await storage.close();
  }
}

async function filesOf(dataDir: string, part: string, name: RegExp): Promise<string[]> {
  return (await readdir(join(dataDir, part))).filter((file) => name.test(file)).map((file) => join(part, file));
}

/** Flips bits all over a file, one in each copy of the directory, and collects the verdicts. */
async function flipEverywhere(file: string, count: number, seed: number): Promise<Map<string, number>> {
  const random = seededRandom(seed);
  const bits = (await readFile(join(good, file))).length * 8;
  const verdicts = new Map<string, number>();
  for (let round = 0; round < count; round++) {
    const copy = join(root, `copy-${round}`);
    await cp(good, copy, { recursive: true });
    // The end of the file is where damage looks most like an interrupted write.
    const bit = round % 2 === 0 ? Math.floor(random.next() * bits) : bits - 1 - Math.floor(random.next() * 400);
    await flipBit(join(copy, file), Math.floor(bit / 8), bit % 8);
    const outcome = await verdict(copy);
    verdicts.set(outcome, (verdicts.get(outcome) ?? 0) + 1);
    await rm(copy, { recursive: true });
  }
  return verdicts;
}

const allowed = new Set(["STORAGE_CORRUPT", "log whole, state consistent"]);
const unexpected = (verdicts: ReadonlyMap<string, number>) => [...verdicts.keys()].filter((key) => !allowed.has(key));

describe("openLevelStorage on a damaged directory", () => {
  it("opens an undamaged one", async () => {
    expect(await verdict(good)).toBe("log whole, state consistent");
  });

  it("finds each flipped bit in the write-ahead log of the Raft log", async () => {
    const [file] = await filesOf(good, "log", /\.log$/);
    const verdicts = await flipEverywhere(file ?? "", 30, 1);
    expect([...verdicts.keys()]).toEqual(["STORAGE_CORRUPT"]);
  });

  it("finds each flipped bit in the tables of the Raft log", async () => {
    const storage = await openLevelStorage({ dataDir: good });
    await storage.close();
    const [file] = await filesOf(good, "log", /\.ldb$/);
    const verdicts = await flipEverywhere(file ?? "", 24, 2);
    // A damaged filter or index block loses no entry.
    expect(unexpected(verdicts)).toEqual([]);
    expect(verdicts.get("STORAGE_CORRUPT")).toBeGreaterThan(12);
  });

  it("never shows a state that did not exist after bits were flipped in its files", async () => {
    for (const [pattern, seed] of [
      [/\.log$/, 3],
      [/\.ldb$/, 4],
    ] as const) {
      const [file] = await filesOf(good, "state", pattern);
      if (file !== undefined) expect(unexpected(await flipEverywhere(file, 12, seed))).toEqual([]);
      const storage = await openLevelStorage({ dataDir: good });
      await storage.close();
    }
  });

  it("finds flipped bits in manifests and in CURRENT", async () => {
    for (const part of ["log", "state"]) {
      for (const file of await filesOf(good, part, /^(MANIFEST-\d+|CURRENT)$/)) {
        expect(unexpected(await flipEverywhere(file, 6, 5))).toEqual([]);
      }
    }
  });

  it.each(["snapshots", "log", "state"])("finds a table of %s that a power cut left empty", async (part) => {
    const storage = await openLevelStorage({ dataDir: good });
    const place = { index: asLogIndex(3), term: asTerm(1), confState: applied(3).confState };
    await storage.snapshots.save(place, oneChunk());
    await storage.close();
    const [file] = await filesOf(good, part, /\.ldb$/);
    await truncate(join(good, file ?? ""), 0);
    expect(await verdict(good)).toBe("STORAGE_CORRUPT");
  });

  it("refuses a log whose last write was cut off after it was sealed, and only then", async () => {
    const [file] = await filesOf(good, "log", /\.log$/);
    const path = join(good, file ?? "");
    await truncate(path, (await readFile(path)).length - 7);
    expect(await verdict(good)).toBe("STORAGE_CORRUPT");
    // As when the power goes in the middle of the write.
    await rm(join(good, "seal"));
    expect(await verdict(good)).toBe(`log of ${entriesMax - 3}, state consistent`);
  });

  it("refuses a directory whose log was deleted, rather than start with an empty one", async () => {
    await rm(join(good, "log"), { recursive: true });
    expect(await verdict(good)).toBe("STORAGE_CORRUPT");
  });

  it("refuses the log of another directory", async () => {
    const other = join(root, "other");
    const storage = await openLevelStorage({ dataDir: other });
    await storage.close();
    await rm(join(good, "log"), { recursive: true });
    await cp(join(other, "log"), join(good, "log"), { recursive: true });
    expect(await verdict(good)).toBe("STORAGE_CORRUPT");
  });

  it("makes a directory anew that was never finished, and refuses the same damage in a finished one", async () => {
    const fresh = join(root, "fresh");
    const storage = await openLevelStorage({ dataDir: fresh });
    await storage.close();
    await writeFile(join(fresh, "log", "CURRENT"), "nonsense\n");
    await expect(openLevelStorage({ dataDir: fresh })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    await rm(join(fresh, "STORAGE"));
    for (const part of ["state", "snapshots"]) await rm(join(fresh, part), { recursive: true });
    const again = await openLevelStorage({ dataDir: fresh });
    expect(again.isNew).toBe(true);
    await again.close();
  });

  it("takes term and vote from the second copy when the record is damaged", async () => {
    const { LevelHandle } = await import("./level-handle.ts");
    const { hardStateKey } = await import("./keys.ts");
    const handle = await LevelHandle.open({ location: join(good, "log"), createIfMissing: false });
    await handle.write([{ type: "put", key: hardStateKey, value: Buffer.from("damaged") }], { sync: true });
    await handle.close();
    expect(await verdict(good)).toBe("log whole, state consistent");
    await rm(join(good, "vote"));
    expect(await verdict(good)).toBe("STORAGE_CORRUPT");
  });

  it("drops a state in which a write is missing, so that it is rebuilt", async () => {
    const { LevelHandle } = await import("./level-handle.ts");
    const { journalKey } = await import("./keys.ts");
    const handle = await LevelHandle.open({ location: join(good, "state"), createIfMissing: false });
    await handle.write([{ type: "del", key: journalKey(0, 50) }], { sync: true });
    await handle.close();
    const storage = await openLevelStorage({ dataDir: good });
    const { applied: position, records } = await storage.state.load();
    expect(position.index).toBe(0);
    for await (const batch of records) expect(batch).toEqual([]);
    await storage.state.write([], applied(1));
    await storage.close();
    const again = await openLevelStorage({ dataDir: good });
    expect((await again.state.load()).applied.index).toBe(1);
    await again.close();
  });
});

describe("openLevelStorage", () => {
  it("rejects with DATA_DIR_IN_USE while another has the directory open", async () => {
    const storage = await openLevelStorage({ dataDir: good });
    await expect(openLevelStorage({ dataDir: good })).rejects.toMatchObject({ code: "DATA_DIR_IN_USE" });
    await storage.close();
    expect(await verdict(good)).toBe("log whole, state consistent");
  });

  it("may be closed more than once, and after its stores", async () => {
    const storage = await openLevelStorage({ dataDir: good });
    await storage.log.close();
    await storage.snapshots.close();
    await storage.close();
    await storage.close();
    expect(await verdict(good)).toBe("log whole, state consistent");
  });

  it("keeps its id", async () => {
    const storage = await openLevelStorage({ dataDir: good });
    const { storeId, isNew } = storage;
    await storage.close();
    const again = await openLevelStorage({ dataDir: good });
    expect([again.storeId, isNew, again.isNew]).toEqual([storeId, false, false]);
    await again.close();
  });
});

async function* oneChunk(): AsyncIterable<Uint8Array> {
  yield new Uint8Array(1_000);
}
