/** Which errors of a store say that its log is not whole, so that its node may come back without it. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromUtf8 } from "@blixard/common";
import { asLogIndex, asNodeId, asTerm } from "@blixard/raft/core";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { isLogDamage } from "./log-damage.ts";
import { openLevelStorage } from "./open-level-storage.ts";

let root = "";
let dataDir = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-log-damage-"));
  dataDir = join(root, "store");
  await makeStore(dataDir);
});
afterEach(() => rm(root, { recursive: true }));

async function makeStore(path: string): Promise<void> {
  const storage = await openLevelStorage({ dataDir: path });
  await storage.log.load();
  for (let index = 1; index <= 5; index++) {
    await storage.log.append({
      entries: [{ term: asTerm(1), index: asLogIndex(index), kind: "normal", data: fromUtf8(`entry ${index}`) }],
      hardState: { term: asTerm(1), vote: asNodeId(1), commit: asLogIndex(index) },
    });
  }
  await storage.close();
}

async function errorOfStart(): Promise<unknown> {
  try {
    const storage = await openLevelStorage({ dataDir });
    await storage.log.load().finally(() => storage.close());
    return undefined;
  } catch (error) {
    return error;
  }
}

async function pathIn(part: string, pattern: RegExp): Promise<string> {
  const name = (await readdir(join(dataDir, part))).find((file) => pattern.test(file));
  return join(dataDir, part, name ?? "none");
}

async function flip(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

describe("damage of the log", () => {
  it("is a lost end, a flipped bit where the log ends, and a damaged manifest", async () => {
    const image = join(root, "image");
    await cp(dataDir, image, { recursive: true });
    const damages = [
      async () => truncate(await pathIn("log", /\.log$/), (await readFile(await pathIn("log", /\.log$/))).length - 1),
      async () => flip(await pathIn("log", /\.log$/), (await readFile(await pathIn("log", /\.log$/))).length - 2),
      async () => flip(await pathIn("log", /^MANIFEST/), 20),
    ];
    for (const damage of damages) {
      await rm(dataDir, { recursive: true });
      await cp(image, dataDir, { recursive: true });
      await damage();
      const error = await errorOfStart();
      expect([error, isLogDamage(error)]).toEqual([expect.objectContaining({ code: "STORAGE_CORRUPT" }), true]);
    }
  });

  it("is not the log of another store, nor damage of anything else", async () => {
    const other = join(root, "other");
    await makeStore(other);
    const image = join(root, "image");
    await cp(dataDir, image, { recursive: true });
    const faults = [
      async () => {
        await rm(join(dataDir, "log"), { recursive: true });
        await cp(join(other, "log"), join(dataDir, "log"), { recursive: true });
      },
      async () => {
        await writeFile(join(dataDir, "STORAGE"), "nonsense");
        await writeFile(join(dataDir, "state", "CURRENT"), "nonsense");
      },
    ];
    for (const fault of faults) {
      await rm(dataDir, { recursive: true });
      await cp(image, dataDir, { recursive: true });
      await fault();
      const error = await errorOfStart();
      expect([error, isLogDamage(error)]).toEqual([expect.objectContaining({ code: "STORAGE_CORRUPT" }), false]);
    }
  });

  it("is not what the system says about a file", async () => {
    const path = await pathIn("log", /\.log$/);
    await rm(path);
    await mkdir(path);
    const error = await errorOfStart();
    expect(error).not.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(isLogDamage(error)).toBe(false);
  });
});
