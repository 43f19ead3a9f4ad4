import { mkdtemp, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromUtf8 } from "@blixard/common";
import { asLogIndex, asNodeId, asTerm, type Entry } from "@blixard/raft/core";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { checkLevelStorage } from "./check-level-storage.ts";
import { flipBit } from "./faults/flip-bit.ts";
import { openLevelStorage } from "./open-level-storage.ts";
import { moveStore } from "./store-files.ts";

const confState = { voters: [asNodeId(1)], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
const entry = (index: number): Entry => ({
  term: asTerm(2),
  index: asLogIndex(index),
  kind: "normal",
  data: fromUtf8(`entry ${index}`),
});

let dataDir = "";
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "blixard-check-"));
  const storage = await openLevelStorage({ dataDir });
  await storage.log.load();
  await storage.state.load();
  const hardState = { term: asTerm(2), vote: asNodeId(1), commit: asLogIndex(0) };
  for (let index = 1; index <= 20; index++) {
    await storage.log.append({ entries: [entry(index)], hardState: { ...hardState, commit: asLogIndex(index) } });
    const applied = { index: asLogIndex(index), term: asTerm(2), confState };
    await storage.state.write([{ table: "kv", key: fromUtf8(`${index}`), value: fromUtf8("v") }], applied);
  }
  await storage.snapshots.save(
    { index: asLogIndex(10), term: asTerm(2), confState },
    (async function* () {
      yield new Uint8Array(300_000);
    })(),
  );
  await storage.close();
});
afterEach(() => rm(dataDir, { recursive: true }));

/** Every file with its bytes, but for LevelDB's own diary. */
async function contentsOf(directory: string): Promise<Map<string, string>> {
  const contents = new Map<string, string>();
  for (const name of await readdir(directory, { recursive: true })) {
    if (/LOG|LOCK/.test(name) || (await stat(join(directory, name))).isDirectory()) continue;
    contents.set(name, (await readFile(join(directory, name))).toString("base64"));
  }
  return contents;
}

describe("checkLevelStorage", () => {
  it("reads everything, says where the store stands, and changes nothing", async () => {
    const before = await contentsOf(dataDir);
    let records = 0;
    const report = await checkLevelStorage({
      dataDir,
      onRecords: (batch) => {
        records += batch.length;
      },
    });
    expect(report.damaged).toBe(false);
    expect(report.findings.map(({ part }) => part)).toEqual([
      "marker",
      "snapshots files",
      "log files",
      "state files",
      "databases",
      "log",
      "snapshot",
      "state",
      "agreement",
    ]);
    expect(report.log).toMatchObject({ hardState: { term: 2, vote: 1, commit: 20 } });
    expect([report.applied?.index, report.snapshot?.index, records]).toEqual([20, 10, 20]);
    expect(await contentsOf(dataDir)).toEqual(before);
  });

  it("names each damaged part", async () => {
    const [file] = (await readdir(join(dataDir, "log"))).filter((name) => name.endsWith(".log"));
    const path = join(dataDir, "log", file ?? "");
    await flipBit(path, 100, 2);
    await truncate(join(dataDir, "state", "CURRENT"), 0);
    const report = await checkLevelStorage({ dataDir });
    expect(report.damaged).toBe(true);
    const wrong = report.findings.filter(({ ok }) => !ok);
    expect(wrong.map(({ part }) => part)).toEqual(["log files", "state files"]);
    expect(wrong[0]?.detail).toMatch(/is damaged at byte/);
  });

  it("finds a damaged chunk of the snapshot, which a start would not read", async () => {
    const { LevelHandle } = await import("./level-handle.ts");
    const { chunkKey } = await import("./keys.ts");
    const handle = await LevelHandle.open({ location: join(dataDir, "snapshots"), createIfMissing: false });
    await handle.write([{ type: "put", key: chunkKey(1, 1), value: Buffer.from("damaged") }], { sync: true });
    await handle.close();
    const { findings } = await checkLevelStorage({ dataDir });
    expect(findings.filter(({ ok }) => !ok).map(({ part }) => part)).toEqual(["snapshot"]);
  });

  it("finds a state that is ahead of its log, as when one part was restored from an older copy", async () => {
    const storage = await openLevelStorage({ dataDir });
    await storage.log.load();
    await storage.log.reset(
      { index: asLogIndex(0), term: asTerm(0) },
      { term: asTerm(1), vote: asNodeId(1), commit: asLogIndex(0) },
    );
    await storage.close();
    const { findings } = await checkLevelStorage({ dataDir });
    expect(findings.filter(({ ok }) => !ok).map(({ part }) => part)).toEqual(["agreement"]);
  });

  it("refuses a store that is in use, and a directory without one", async () => {
    const storage = await openLevelStorage({ dataDir });
    await expect(checkLevelStorage({ dataDir })).rejects.toMatchObject({ code: "DATA_DIR_IN_USE" });
    await storage.close();
    await moveStore(dataDir, join(dataDir, "backup"));
    await expect(checkLevelStorage({ dataDir })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect((await checkLevelStorage({ dataDir: join(dataDir, "backup") })).damaged).toBe(false);
  });
});

describe("openLevelStorage", () => {
  it("counts its starts durably", async () => {
    const first = await openLevelStorage({ dataDir });
    await first.close();
    const second = await openLevelStorage({ dataDir });
    await second.close();
    expect([first.starts, second.starts]).toEqual([2, 3]);
  });
});
