/** The rows of the storage design about a full disk and a failing fsync, on real LevelDB. */
import { cp, mkdtemp, open, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemErrorCodeOf } from "@blixard/common";
import { asLogIndex, asNodeId, asTerm, type Entry } from "@blixard/raft/core";
import { afterAll, beforeAll, describe, expect } from "@jest/globals";
import { Level } from "level";
import { openLevelStorage } from "../open-level-storage.ts";
import { requireOrSkip } from "./require-or-skip.ts";
import { mountSmallDisk, type SmallDisk } from "./small-disk.ts";
import { runChild, straceIsMissing } from "./traced-run.ts";

const diskBytes = 4 * 1024 * 1024;
const disk = await mountSmallDisk(diskBytes);
const onSmallDisk = requireOrSkip(typeof disk === "string" ? disk : undefined);
const withStrace = requireOrSkip(straceIsMissing());

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-errors-"));
});
afterAll(async () => {
  await rm(root, { recursive: true });
  if (typeof disk !== "string") await disk.unmount();
});

/** Writes one thing after the other; the disk is full from the 20th to the 30th. Resolves with what was acknowledged. */
async function writeThroughFullDisk(small: SmallDisk, write: (index: number) => Promise<void>) {
  const filler = join(small.path, "filler");
  const acknowledged: { before: number[]; after: number[] } = { before: [], after: [] };
  const failures: unknown[] = [];
  for (let index = 1; index <= 80; index++) {
    if (index === 20) await fill(small, filler);
    if (index === 30) await rm(filler);
    try {
      await write(index);
      (failures.length === 0 ? acknowledged.before : acknowledged.after).push(index);
    } catch (error) {
      failures.push(error);
    }
  }
  return { ...acknowledged, failures };
}

async function fill(small: SmallDisk, filler: string): Promise<void> {
  const handle = await open(filler, "w");
  try {
    for (;;) await handle.writeFile(Buffer.alloc(4_096));
  } catch (error) {
    expect(systemErrorCodeOf(error)).toBe("ENOSPC");
  } finally {
    await handle.close();
  }
  expect((await statfs(small.path)).bfree).toBe(0);
}

const entry = (index: number): Entry => ({
  term: asTerm(1),
  index: asLogIndex(index),
  kind: "normal",
  data: new Uint8Array(2_000),
});

describe("a disk that is full for a while", () => {
  onSmallDisk("makes plain LevelDB lose synced puts that it acknowledged afterwards", async () => {
    if (typeof disk === "string") return;
    const location = join(disk.path, "raw");
    const db = new Level<string, string>(location);
    const value = "x".repeat(2_000);
    const { before, after, failures } = await writeThroughFullDisk(disk, (index) =>
      db.put(`key ${index}`, value, { sync: true }),
    );
    expect(failures.length).toBeGreaterThan(0);
    expect(after.length).toBeGreaterThan(0);
    // As SIGKILL leaves it: what the process wrote, without a close.
    const killed = join(root, "raw");
    await cp(location, killed, { recursive: true });
    await db.close();
    const again = new Level<string, string>(killed);
    const missing: number[] = [];
    for (const index of [...before, ...after]) if ((await again.get(`key ${index}`)) === undefined) missing.push(index);
    await again.close();
    expect(missing).toEqual(after);
    await rm(location, { recursive: true });
  });

  onSmallDisk("stops the log for good, so that nothing which was acknowledged is lost", async () => {
    if (typeof disk === "string") return;
    const dataDir = join(disk.path, "store");
    const storage = await openLevelStorage({ dataDir });
    await storage.log.load();
    const hardState = { term: asTerm(1), vote: asNodeId(1), commit: asLogIndex(0) };
    await storage.log.append({ entries: [], hardState });
    const { before, after, failures } = await writeThroughFullDisk(disk, async (index) => {
      await storage.log.append({ entries: [entry(index)] });
    });
    expect(after).toEqual([]);
    expect(failures.length).toBe(80 - before.length);
    expect(failures[0]).toMatchObject({ code: "STORAGE_FAILED", outcome: "unknown" });
    const killed = join(root, "store");
    await cp(dataDir, killed, { recursive: true });
    await storage.close();
    const again = await openLevelStorage({ dataDir: killed });
    const { entries, hardState: found } = await again.log.load();
    expect(entries.length).toBeGreaterThanOrEqual(before.length);
    expect(found).toMatchObject({ term: 1, vote: 1 });
    await again.close();
    await rm(dataDir, { recursive: true });
  });
});

/** Fails the n-th fdatasync of each thread, once. */
const failingSync = (when: number) => {
  const inject = `inject=fdatasync:error=EIO:when=${when}`;
  return ["-f", "-o", join(root, `eio-${when}`), "-e", "trace=fdatasync", "-e", inject];
};

const numbers = (lines: readonly string[], word: string) =>
  lines.filter((line) => line.startsWith(`${word} `)).map((line) => Number(line.split(" ")[1]));

describe("an fdatasync that fails once", () => {
  withStrace("leaves the put that plain LevelDB refused in the database", async () => {
    const location = join(root, "raw-eio");
    const { lines } = await runChild("raw-synced", location, 12, failingSync(8));
    const [first = 0, ...rest] = numbers(lines, "failed");
    expect(first).toBeGreaterThan(1);
    // Read-only from then on.
    expect(numbers(lines, "entry")).toEqual(Array.from({ length: first - 1 }, (_, at) => at + 1));
    expect(rest.length).toBe(12 - first);
    const db = new Level<string, string>(location);
    expect(await db.get(`key ${first}`)).toMatch(`value ${first} `);
    await db.close();
  });

  withStrace("is an unknown outcome here, the last word of the store, and loses nothing", async () => {
    for (const when of [14, 17, 22]) {
      const dataDir = join(root, `store-eio-${when}`);
      const { lines, stderr } = await runChild("store", dataDir, 12, failingSync(when));
      expect(stderr).toBe("");
      const acknowledged = numbers(lines, "entry");
      const failed = lines.filter((line) => line.startsWith("failed "));
      const first = acknowledged.length + 1;
      expect(failed.length).toBe(12 - acknowledged.length);
      expect(failed.length).toBeGreaterThan(0);
      expect(failed.every((line) => line.endsWith(" STORAGE_FAILED unknown"))).toBe(true);
      const storage = await openLevelStorage({ dataDir });
      const { entries } = await storage.log.load();
      await storage.close();
      expect([first - 1, first]).toContain(entries.length);
    }
  });

  withStrace("keeps a store from being made: nobody was told that it exists", async () => {
    const dataDir = join(root, "store-eio-open");
    const { lines } = await runChild("store", dataDir, 1, failingSync(2));
    expect(lines).toEqual([]);
    const storage = await openLevelStorage({ dataDir });
    expect(storage.isNew).toBe(true);
    await storage.close();
  });
});
