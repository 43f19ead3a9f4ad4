/** Term and vote stand twice on the disk: what counts when the two differ, and when one of them cannot be written. */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromUtf8 } from "@blixard/common";
import type { LogStore } from "@blixard/raft";
import { asLogIndex, asNodeId, asTerm, type Entry, type HardState } from "@blixard/raft/core";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { Level } from "level";
import type { LevelDatabase } from "./level-handle.ts";
import { openLevelStorage } from "./open-level-storage.ts";
import type { SlotDisk } from "./slot-file.ts";
import { openStoresOver } from "./stores-over.ts";

const state = (term: number, vote: number): HardState => ({
  term: asTerm(term),
  vote: asNodeId(vote),
  commit: asLogIndex(0),
});
const entry = (index: number): Entry => ({
  term: asTerm(1),
  index: asLogIndex(index),
  kind: "normal",
  data: fromUtf8(`entry ${index}`),
});

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-vote-"));
});
afterEach(async () => {
  await rm(root, { recursive: true });
});

describe("term and vote of a data directory", () => {
  /** What a start finds when the second copy tells of `newer`, and the log's own record still of `older`. */
  async function found(older: HardState, newer: HardState): Promise<HardState> {
    const dataDir = join(root, `${older.term}-${older.vote}-${newer.term}-${newer.vote}`);
    const write = async (hardState: HardState) => {
      const storage = await openLevelStorage({ dataDir });
      await storage.log.load();
      await storage.log.append({ entries: [], hardState });
      await storage.close();
    };
    await write(older);
    // The vote file is written beside the log, so that a power cut may leave the newer one of these two alone.
    for (const name of ["log", "seal"]) await cp(join(dataDir, name), join(root, "kept", name), { recursive: true });
    await write(newer);
    for (const name of ["log", "seal"]) {
      await rm(join(dataDir, name), { recursive: true });
      await cp(join(root, "kept", name), join(dataDir, name), { recursive: true });
    }
    const storage = await openLevelStorage({ dataDir });
    const { hardState } = await storage.log.load();
    await storage.close();
    return hardState;
  }

  it("are those of the copy, when the log has lost a vote, in a later term or in the same one", async () => {
    expect(await found(state(4, 1), state(5, 2))).toMatchObject({ term: 5, vote: 2 });
    // The term came with a leader's message, and the vote for somebody only after it.
    expect(await found(state(5, 0), state(5, 2))).toMatchObject({ term: 5, vote: 2 });
  });
});

describe("a log store whose second copy cannot be written", () => {
  const open = (part: string) =>
    new Level<Buffer, Buffer>(join(root, part), { keyEncoding: "buffer", valueEncoding: "buffer" });

  /** The log store over databases on the disk and over this vote file. */
  async function withLog<T>(voteFile: SlotDisk, work: (log: LogStore) => Promise<T>): Promise<T> {
    const databases = { log: open("log"), snapshots: open("snapshots"), state: open("state") };
    for (const database of Object.values(databases)) await database.open({ passive: false });
    const {
      log,
      snapshots,
      state: stateStore,
    } = await openStoresOver({
      ...(databases as unknown as Record<keyof typeof databases, LevelDatabase>),
      ...{ voteFile, location: root },
    });
    try {
      return await work(log);
    } finally {
      for (const store of [log, snapshots, stateStore]) await store.close();
    }
  }

  const emptyDisk: SlotDisk = {
    read: async () => ({ bytesRead: 0 }),
    write: async () => {},
    datasync: async () => {},
    close: async () => {},
  };
  const brokenDisk: SlotDisk = { ...emptyDisk, datasync: () => Promise.reject(new Error("EIO: i/o error")) };

  it("takes nothing more, also what the other disk could still take", async () => {
    const outcomes = await withLog(brokenDisk, async (log) => {
      await log.load();
      const first = await log.append({ entries: [entry(1)], hardState: state(1, 1) }).catch((error: unknown) => error);
      // Neither of these touches the broken file.
      const second = await log.append({ entries: [entry(2)] }).catch((error: unknown) => error);
      const third = await log.compact({ index: asLogIndex(1), term: asTerm(1) }).catch((error: unknown) => error);
      return [first, second, third];
    });
    const failed = { code: "STORAGE_FAILED", outcome: "unknown" };
    expect(outcomes).toMatchObject([failed, failed, failed]);
    // What the caller was told to have failed may be there; what it asked for after that must not.
    const { entries } = await withLog(emptyDisk, (log) => log.load());
    expect(entries.map(({ index }) => index)).not.toContain(2);
  });
});
