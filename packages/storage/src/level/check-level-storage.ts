/**
 * Reads everything in a store and says what is wrong with it, without changing it: the files are verified where they
 * are, and the records in a copy, which is opened as the next start would open the store.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { BlixardError, errorCodeOf, fileErrorOf, messageOf } from "@blixard/common";
import type { AppliedState, LogContents, SnapshotMeta } from "@blixard/raft";
import { corrupt } from "../records/record.ts";
import type { StateRecord } from "../state-store.ts";
import { checkLevelFiles } from "./file-check.ts";
import { readMarker } from "./marker.ts";
import { type LevelStorage, openLevelStorage } from "./open-level-storage.ts";
import { assertStoreNotInUse, copyStore, hasStore, storeParts } from "./store-files.ts";

/** One part that was verified. */
export interface StorageFinding {
  readonly part: string;
  readonly ok: boolean;
  /** What was read, or what is wrong. */
  readonly detail: string;
}

export interface StorageReport {
  readonly findings: readonly StorageFinding[];
  readonly damaged: boolean;
  /** Where the log stands; undefined when it cannot be read. */
  readonly log: LogContents | undefined;
  /** Position and configuration of the state; index 0 when it has to be rebuilt. */
  readonly applied: AppliedState | undefined;
  readonly snapshot: SnapshotMeta | undefined;
}

export interface CheckLevelStorageOptions {
  readonly dataDir: string;
  /** Called with each batch of the state, for example to find the members in it. */
  readonly onRecords?: (records: readonly StateRecord[]) => void;
}

const snapshotReadBytes = 1024 * 1024;

/**
 * @throws DATA_DIR_IN_USE, NOT_FOUND when there is no store, DATA_DIR_INVALID and STORAGE_FAILED when it cannot be read
 */
export async function checkLevelStorage(options: CheckLevelStorageOptions): Promise<StorageReport> {
  const dataDir = resolve(options.dataDir);
  if (!(await hasStore(dataDir))) throw new BlixardError("NOT_FOUND", `there is no store in ${dataDir}`);
  await assertStoreNotInUse(dataDir);
  const check = new Check(options);
  try {
    await check.files(dataDir);
    if (check.findings.every(({ ok }) => ok)) await check.recordsInCopy(dataDir);
  } catch (error) {
    throw fileErrorOf(error, `check ${dataDir}`);
  }
  // What a node changed meanwhile looks like damage.
  await assertStoreNotInUse(dataDir);
  const { findings, log, applied, snapshot } = check;
  return { findings, damaged: findings.some(({ ok }) => !ok), log, applied, snapshot };
}

class Check {
  readonly findings: StorageFinding[] = [];
  readonly #options: CheckLevelStorageOptions;
  log: LogContents | undefined;
  applied: AppliedState | undefined;
  snapshot: SnapshotMeta | undefined;

  constructor(options: CheckLevelStorageOptions) {
    this.#options = options;
  }

  async #verify(part: string, work: () => Promise<string>): Promise<void> {
    try {
      this.findings.push({ part, ok: true, detail: await work() });
    } catch (error) {
      if (errorCodeOf(error) !== "STORAGE_CORRUPT") throw error;
      this.findings.push({ part, ok: false, detail: messageOf(error) });
    }
  }

  async files(dataDir: string): Promise<void> {
    await this.#verify("marker", async () => {
      const marker = await readMarker(dataDir);
      if (marker === undefined) throw corrupt("STORAGE is missing: the store was never finished, or is not whole");
      if (marker === "damaged") throw corrupt("STORAGE is damaged");
      return `store ${marker.storeId}`;
    });
    for (const part of storeParts) {
      await this.#verify(`${part} files`, async () => {
        const { tables, bytes } = await checkLevelFiles(join(dataDir, part), {
          logs: part === "log" ? "synced" : "unsynced",
        });
        return `${tables} tables of ${bytes} bytes, manifest${part === "log" ? ", write-ahead logs" : ""}`;
      });
    }
  }

  async recordsInCopy(dataDir: string): Promise<void> {
    const copy = await mkdtemp(join(dataDir, "check-"));
    let storage: LevelStorage | undefined;
    try {
      await copyStore(dataDir, copy);
      await this.#verify("databases", async () => {
        storage = await openLevelStorage({ dataDir: copy, scrub: { bytesPerSecond: 0 } });
        return `belong together, started ${storage.starts - 1} times`;
      });
      if (storage !== undefined) await this.#records(storage);
    } finally {
      await storage?.close();
      await rm(copy, { recursive: true, force: true });
    }
  }

  async #records(storage: LevelStorage): Promise<void> {
    await this.#verify("log", async () => {
      const log = await storage.log.load();
      this.log = log;
      const { base, entries, hardState } = log;
      const range =
        entries.length === 0
          ? `empty after ${base.index}`
          : `entries ${base.index + 1} to ${base.index + entries.length}`;
      return `${range}, term ${hardState.term}, vote ${hardState.vote}, commit ${hardState.commit}`;
    });
    await this.#verify("snapshot", () => this.#readSnapshot(storage));
    await this.#verify("state", () => this.#state(storage));
    await this.#verify("agreement", async () => this.#agreement());
  }

  async #readSnapshot({ snapshots, health }: LevelStorage): Promise<string> {
    const meta = await snapshots.latest();
    if (meta === undefined && health.corruptions > 0) throw corrupt("the newest snapshot is damaged");
    if (meta === undefined) return "none";
    for (let offset = 0; offset < meta.sizeBytes; ) {
      const chunk = await snapshots.read(meta.index, offset, snapshotReadBytes);
      if (chunk.length === 0) throw corrupt(`the snapshot at ${meta.index} is cut off`);
      offset += chunk.length;
    }
    this.snapshot = meta;
    return `at ${meta.index}, ${meta.sizeBytes} bytes`;
  }

  async #state(storage: LevelStorage): Promise<string> {
    const { corruptions } = storage.health;
    const { applied, records } = await storage.state.load();
    if (storage.health.corruptions > corruptions) throw corrupt("it has lost what was flushed; a start makes it anew");
    let count = 0;
    for await (const batch of records) {
      count += batch.length;
      this.#options.onRecords?.(batch);
    }
    this.applied = applied;
    return applied.index === 0
      ? "empty: it is rebuilt from the snapshot and the log"
      : `at ${applied.index}, ${count} records`;
  }

  /** The same rules as at the start of a node: what no crash explains is damage. */
  #agreement(): string {
    const { log, applied } = this;
    const snapshotIndex = this.snapshot?.index ?? 0;
    if (log === undefined || applied === undefined) return "not compared";
    const last = log.base.index + log.entries.length;
    const reached = Math.max(applied.index, snapshotIndex);
    if (log.hardState.commit > Math.max(last, snapshotIndex)) {
      throw corrupt(`entries up to ${log.hardState.commit} were committed, but the log ends at ${last}`);
    }
    if (reached < log.base.index)
      throw corrupt(`the log starts after ${log.base.index}, but the state stands at ${reached}`);
    if (applied.index > Math.max(last, snapshotIndex)) {
      throw corrupt(`the state stands at ${applied.index}, but the log ends at ${last}`);
    }
    return "log, snapshot and state fit together";
  }
}
