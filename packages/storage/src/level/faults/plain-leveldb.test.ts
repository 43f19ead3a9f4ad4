/**
 * The rows of the storage design about flipped bits and lost files: what plain LevelDB makes of them, which is why
 * this package verifies everything by itself. What the package makes of them is in damage.test.ts too, bit by bit.
 */
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asLogIndex, asTerm, type Entry } from "@blixard/raft/core";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Level } from "level";
import { openLevelStorage } from "../open-level-storage.ts";
import { flipBit } from "./flip-bit.ts";

const count = 500;
const expectedValue = (index: number) => `value ${index} ${"x".repeat(100)}`;
const entry = (index: number): Entry => ({
  term: asTerm(1),
  index: asLogIndex(index),
  kind: "normal",
  data: Buffer.from(expectedValue(index)),
});

let root = "";
let rawDir = "";
let dataDir = "";
let copies = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-plain-"));
  rawDir = join(root, "raw");
  dataDir = join(root, "store");
  const db = new Level<string, string>(rawDir, { compression: false });
  for (let index = 1; index <= count; index++) await db.put(`key ${index}`, expectedValue(index));
  await db.close();
  const storage = await openLevelStorage({ dataDir });
  await storage.log.load();
  for (let index = 1; index <= count; index++) await storage.log.append({ entries: [entry(index)] });
  await storage.close();
});
afterAll(async () => {
  await rm(root, { recursive: true });
});

async function copyOf(directory: string): Promise<string> {
  copies++;
  const copy = join(root, `copy-${copies}`);
  await cp(directory, copy, { recursive: true });
  return copy;
}

/** Makes tables of the write-ahead logs, as a clean start does. */
async function withTables(directory: string, isStore: boolean): Promise<string> {
  const copy = await copyOf(directory);
  if (isStore) await (await openLevelStorage({ dataDir: copy })).close();
  else {
    const db = new Level(copy, { compression: false });
    await db.open();
    await db.close();
  }
  return copy;
}

async function fileIn(directory: string, name: RegExp): Promise<string> {
  const files = (await readdir(directory)).filter((file) => name.test(file)).sort();
  return join(directory, files[0] ?? "none");
}

/** Flips the lowest bit of a byte in the middle of the file, inside of a value. */
async function flipInMiddle(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.indexOf("xxxxxxxxxx", Math.floor(bytes.length / 2)) + 4;
  await flipBit(path, at);
}

/** Opens plain LevelDB and compares all values. */
async function rawVerdict(location: string) {
  const db = new Level<string, string>(location, { compression: false });
  try {
    await db.open({ createIfMissing: false });
    const verdict = { missing: 0, wrong: 0 };
    for (let index = 1; index <= count; index++) {
      const value = await db.get(`key ${index}`);
      if (value === undefined) verdict.missing++;
      else if (value !== expectedValue(index)) verdict.wrong++;
    }
    return verdict;
  } catch {
    return "an error";
  } finally {
    await db.close();
  }
}

/** What opening or loading says when there is nobody to repair from. */
async function refusal(
  directory: string,
): Promise<{ readonly code?: string; readonly message?: string; readonly hint?: string }> {
  try {
    const storage = await openLevelStorage({ dataDir: directory });
    try {
      await storage.log.load();
    } finally {
      await storage.close();
    }
    return {};
  } catch (error) {
    return error as { readonly code: string };
  }
}

describe("one flipped bit", () => {
  it("in a write-ahead log: plain LevelDB opens and has lost records from the middle; the store refuses without a peer", async () => {
    const raw = await copyOf(rawDir);
    await flipInMiddle(await fileIn(raw, /\.log$/));
    const verdict = await rawVerdict(raw);
    expect(verdict).toMatchObject({ wrong: 0 });
    expect((verdict as { readonly missing: number }).missing).toBeGreaterThan(0);

    const store = await copyOf(dataDir);
    await flipInMiddle(await fileIn(join(store, "log"), /\.log$/));
    expect(await refusal(store)).toMatchObject({
      code: "STORAGE_CORRUPT",
      message: expect.stringMatching(/lost the entries \d+ to \d+/),
      hint: expect.stringContaining("blixard recover"),
    });
  });

  it("in a table: plain LevelDB serves a wrong value without an error; the store refuses without a peer", async () => {
    const raw = await withTables(rawDir, false);
    await flipInMiddle(await fileIn(raw, /\.ldb$/));
    expect(await rawVerdict(raw)).toEqual({ missing: 0, wrong: 1 });

    const store = await withTables(dataDir, true);
    await flipInMiddle(await fileIn(join(store, "log"), /\.ldb$/));
    expect(await refusal(store)).toMatchObject({
      code: "STORAGE_CORRUPT",
      message: expect.stringMatching(/lost the entries \d+ to \d+/),
    });
  });
});

describe("a file that is missing, cut off or damaged", () => {
  it.each([
    ["a table is missing", /\.ldb$/, (path: string) => rm(path), "is missing"],
    ["a table is cut off", /\.ldb$/, (path: string) => truncate(path, 1_000), "it is not certain where the log ends"],
    ["the manifest is missing", /^MANIFEST-/, (path: string) => rm(path), "is missing"],
    ["the manifest is damaged", /^MANIFEST-/, (path: string) => writeFile(path, "nonsense"), "MANIFEST-"],
    ["CURRENT is empty", /^CURRENT$/, (path: string) => truncate(path, 0), "damaged"],
  ] as const)("%s: the store refuses with words and the next step", async (_, name, damage, words) => {
    const store = await withTables(dataDir, true);
    await damage(await fileIn(join(store, "log"), name));
    expect(await refusal(store)).toMatchObject({
      code: "STORAGE_CORRUPT",
      message: expect.stringContaining(words),
      hint: expect.stringContaining("blixard recover"),
    });
    const raw = await withTables(rawDir, false);
    await damage(await fileIn(raw, name));
    // Loud or not depends on the file; a table whose end is cut off even opens.
    if (words === "is missing") expect(await rawVerdict(raw)).toBe("an error");
  });

  it("the last record of a log is cut off: served without it only where it was never sealed", async () => {
    const store = await copyOf(dataDir);
    const path = await fileIn(join(store, "log"), /\.log$/);
    await truncate(path, (await readFile(path)).length - 3);
    await expect(openLevelStorage({ dataDir: store })).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    // As when the power goes in the middle of the write.
    await rm(join(store, "seal"));
    const storage = await openLevelStorage({ dataDir: store });
    expect((await storage.log.load()).entries.length).toBe(count - 1);
    await storage.close();
  });
});
