/**
 * Opens the three databases of a data directory and decides what an unreadable one means (see marker.ts).
 *
 *     <dataDir>/STORAGE      marker
 *     <dataDir>/snapshots/   opened first: its lock is the lock of the directory
 *     <dataDir>/log/         every write synced; checked file by file before LevelDB touches it
 *     <dataDir>/state/       unsynced writes, flushed before the log is compacted
 *     <dataDir>/vote         second copy of term and vote
 *     <dataDir>/seal         what the log is known to hold (see log-seal.ts)
 *     <dataDir>/log.damaged/ the files of a log that was damaged, after everything readable was taken over
 *     <dataDir>/state.damaged/, snapshots.damaged/   those of a database that was not whole, and was made anew
 */
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import {
  BlixardError,
  type Clock,
  discardMetrics,
  errorCodeOf,
  fileErrorOf,
  type Logger,
  type Metrics,
  messageOf,
  silentLogger,
} from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { LogStore, SnapshotStore } from "@blixard/raft";
import { unpackHead } from "../records/log-head.ts";
import { corrupt, openRecord, sealRecord } from "../records/record.ts";
import type { StateStore } from "../state-store.ts";
import { countStart, startsOf } from "./count-start.ts";
import { DamageLedger, type StorageHealth } from "./damage-ledger.ts";
import { checkLevelFiles, isIncomplete } from "./file-check.ts";
import { allKeys, hardStateKey, markerKey } from "./keys.ts";
import { LevelHandle } from "./level-handle.ts";
import { LevelLogStore } from "./level-log-store.ts";
import { LevelSnapshotStore } from "./level-snapshot-store.ts";
import { LevelStateStore } from "./level-state-store.ts";
import { inLog } from "./log-damage.ts";
import { LogSeal } from "./log-seal.ts";
import { type Marker, readMarker, syncDirectory, writeMarker } from "./marker.ts";
import { remakePart } from "./remake-part.ts";
import { finishReplacement, replaceLog } from "./replace-log.ts";
import { salvageLog } from "./salvage-log.ts";
import { Scrubber, type ScrubOptions } from "./scrubber.ts";
import { assertStoreNotInUse, storeParts } from "./store-files.ts";
import { VoteFile } from "./vote-file.ts";

export interface LevelStorageOptions {
  /** Made when it does not exist. One process at a time may have it open. */
  readonly dataDir: string;
  /** Paces what is done in the background. Default: the system's. */
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
  /** How what is stored is checked while it is open. */
  readonly scrub?: ScrubOptions;
}

export interface LevelStorage {
  /**
   * Damaged files of the log do not keep the directory from opening, as long as it is certain where the log ended: what
   * is readable is taken over. Then `load` needs `repairFrom` for what is missing, and throws STORAGE_CORRUPT without it.
   */
  readonly log: LogStore;
  readonly snapshots: SnapshotStore;
  readonly state: StateStore;
  /** Random id of this directory, for as long as it exists. */
  readonly storeId: string;
  /**
   * How often this directory was opened, this time included; durable. A copy of the directory that is older than the
   * last start begins with a number that was used before.
   */
  readonly starts: number;
  /** True when this call made the directory: nothing was ever stored in it. */
  readonly isNew: boolean;
  /** Damage of the log that was found, and repaired, since it was opened. */
  readonly health: StorageHealth;
  /** Closes what is still open; harmless after the stores were closed one by one. */
  close(): Promise<void>;
}

type Part = (typeof storeParts)[number];
const snapshotsWriteBufferBytes = 8 * 1024 * 1024;

/** @throws DATA_DIR_IN_USE, DATA_DIR_INVALID, STORAGE_CORRUPT (see `isLogDamage`) or STORAGE_FAILED */
export async function openLevelStorage(options: LevelStorageOptions): Promise<LevelStorage> {
  const dataDir = resolve(options.dataDir);
  const { clock = systemClock, logger = silentLogger } = options;
  const damage = new DamageLedger(options.metrics ?? discardMetrics);
  const opened = new Map<Part, LevelHandle>();
  const files: (() => Promise<void>)[] = [];
  try {
    await makeDirectory(dataDir);
    const marker = await readMarker(dataDir);
    for (const part of storeParts) {
      const handle =
        marker === undefined
          ? await openNew(join(dataDir, part), logger)
          : await openMarked(dataDir, part, { logger, damage, marker });
      opened.set(part, handle);
    }
    const handles = { snapshots: need(opened, "snapshots"), log: need(opened, "log"), state: need(opened, "state") };
    const storeId = await agreeOnId(dataDir, marker === "damaged" ? undefined : marker?.storeId, opened, marker);
    const seal = await LogSeal.open(join(dataDir, "seal"), storeId.id, { clock, logger });
    files.push(() => seal.abandon());
    const { writes, starts } = await inLog(() => startSealed(handles.log, seal));
    const voteFile = await VoteFile.open(join(dataDir, "vote"));
    files.push(() => voteFile.close());
    await syncDirectory(dataDir);
    const isNew = marker === undefined && storeId.isNew;
    if (marker === undefined || marker === "damaged") {
      await writeMarker(dataDir, { formatVersion: 1, storeId: storeId.id });
    }
    const log = new LevelLogStore({ handle: handles.log, voteFile, seal, writes, logger, damage });
    const snapshots = await LevelSnapshotStore.open(handles.snapshots, damage);
    await verifySnapshot(snapshots, logger);
    const state = new LevelStateStore(handles.state, logger, damage);
    const scrubber = new Scrubber([snapshots, log, state], options.scrub ?? {}, { clock, logger, damage });
    const close = async () => {
      await scrubber.stop();
      await log.close();
      await state.close();
      await snapshots.close();
    };
    return {
      ...{ log, snapshots, state, storeId: storeId.id, starts, isNew, close },
      get health() {
        return damage.health;
      },
    };
  } catch (error) {
    // The process may go on, and open the directory once more.
    for (const close of [...files, ...[...opened.values()].map((handle) => () => handle.close())]) {
      await close().catch(() => {});
    }
    throw fileErrorOf(error, `open ${dataDir}`);
  }
}

async function makeDirectory(dataDir: string): Promise<void> {
  try {
    const made = await mkdir(dataDir, { recursive: true, mode: 0o700 });
    if (made !== undefined) await syncDirectory(dirname(made));
  } catch (error) {
    throw fileErrorOf(error, `make ${dataDir}`);
  }
}

async function openNew(location: string, logger: Logger): Promise<LevelHandle> {
  try {
    return await LevelHandle.open({ location, createIfMissing: true });
  } catch (error) {
    if (errorCodeOf(error) !== "STORAGE_CORRUPT") throw error;
    // No node ever said that this directory exists, so nothing in it was acknowledged. It is kept aside all the same.
    logger.log("warn", "an unfinished database is made anew", { location, reason: messageOf(error) });
    await rm(`${location}.unfinished`, { recursive: true, force: true });
    await rename(location, `${location}.unfinished`);
    return LevelHandle.open({ location, createIfMissing: true });
  }
}

interface OpenDeps {
  readonly logger: Logger;
  readonly damage: DamageLedger;
  readonly marker: Marker | "damaged";
}

function openMarked(dataDir: string, part: Part, deps: OpenDeps): Promise<LevelHandle> {
  const open = () => openExisting(dataDir, part, deps);
  return part === "log" ? inLog(open) : open();
}

async function openExisting(dataDir: string, part: Part, deps: OpenDeps): Promise<LevelHandle> {
  const location = join(dataDir, part);
  // The snapshots are opened first and are the lock, so the files of the others stand still while they are checked.
  if (part === "log") await checkOrSalvageLog(dataDir, location, deps);
  else await checkOrRemake(dataDir, part, deps);
  return LevelHandle.open({
    location,
    createIfMissing: false,
    ...(part === "snapshots" ? { writeBufferBytes: snapshotsWriteBufferBytes } : {}),
  });
}

/** What a lost write explains is made anew. A table that is there and damaged is a disk that a person has to look at. */
async function checkOrRemake(dataDir: string, part: "snapshots" | "state", deps: OpenDeps): Promise<void> {
  const { logger, damage, marker } = deps;
  const location = join(dataDir, part);
  try {
    await checkLevelFiles(location, { logs: "unsynced", tables: part === "snapshots" ? "sized" : "read" });
  } catch (error) {
    if (errorCodeOf(error) !== "STORAGE_CORRUPT") throw error;
    // The lock of the snapshots is not held yet: what a running node changes meanwhile may look like damage.
    if (part === "snapshots") await assertStoreNotInUse(dataDir);
    if (!isIncomplete(error) || marker === "damaged") throw error;
    logger.log("error", `the database of the ${part} is not whole; it is made anew`, {
      reason: messageOf(error),
      keptIn: `${location}.damaged`,
    });
    await remakePart(dataDir, part, marker.storeId);
    damage.remade();
  }
}

/** A damaged snapshot is used for nothing: the state that it was made of is stored too, and a new one is made of it. */
async function verifySnapshot(snapshots: LevelSnapshotStore, logger: Logger): Promise<void> {
  const before = await snapshots.latest();
  for await (const _bytes of snapshots.scrub());
  if (before !== undefined && (await snapshots.latest()) === undefined) {
    logger.log("error", "the newest snapshot is damaged", { index: before.index, sizeBytes: before.sizeBytes });
  }
}

/** Counts this start in a log that has everything that was sealed. @throws STORAGE_CORRUPT */
async function startSealed(log: LevelHandle, seal: LogSeal): Promise<{ writes: number; starts: number }> {
  const writes = await seal.check({ writes: await lastWrite(log), starts: await startsOf(log) });
  const starts = await countStart(log);
  await seal.noteStart(starts);
  return { writes, starts };
}

/** Undefined also for a damaged head, whose place another copy takes (see level-log-store.ts). */
async function lastWrite(log: LevelHandle): Promise<number | undefined> {
  const value = await log.get(hardStateKey);
  try {
    return value === undefined ? 0 : unpackHead(openRecord(hardStateKey, value)).writes;
  } catch (error) {
    if (errorCodeOf(error) === "STORAGE_CORRUPT") return undefined;
    throw error;
  }
}

async function checkOrSalvageLog(dataDir: string, location: string, { logger, damage }: OpenDeps): Promise<void> {
  await finishReplacement(dataDir);
  try {
    await checkLevelFiles(location, { logs: "synced" });
  } catch (error) {
    if (errorCodeOf(error) !== "STORAGE_CORRUPT") throw error;
    logger.log("error", "the files of the log are damaged", { reason: messageOf(error) });
    const salvaged = await salvageLog(location);
    damage.foundInLogFiles(salvaged.damage.length);
    await replaceLog(dataDir, salvaged);
    logger.log("warn", "what is readable of the log was taken over; the damaged files are in log.damaged", {
      damage: salvaged.damage,
    });
  }
}

/** Checks that the databases belong together, or gives them a common id when they are new. */
async function agreeOnId(
  dataDir: string,
  expected: string | undefined,
  opened: ReadonlyMap<Part, LevelHandle>,
  marker: unknown,
): Promise<{ readonly id: string; readonly isNew: boolean }> {
  const ids = new Set<string | undefined>(expected === undefined ? [] : [expected]);
  for (const [part, handle] of opened) ids.add(await (part === "log" ? inLog(() => readId(handle)) : readId(handle)));
  const [first] = ids;
  if (ids.size === 1 && first !== undefined) return { id: first, isNew: false };
  if (marker !== undefined) throw corrupt(`the databases of ${dataDir} do not belong together`);
  for (const handle of opened.values()) {
    for await (const batch of handle.entries(allKeys)) {
      if (batch.some(([key]) => !key.equals(markerKey))) {
        throw corrupt(`${dataDir} has data but no marker, and its databases do not belong together`);
      }
    }
  }
  const id = randomBytes(16).toString("hex");
  for (const [part, handle] of opened) {
    const value = sealRecord(markerKey, Buffer.from(id, "latin1"));
    await handle.write([{ type: "put", key: markerKey, value }], { sync: true });
    await syncDirectory(join(dataDir, part));
  }
  return { id, isNew: true };
}

async function readId(handle: LevelHandle): Promise<string | undefined> {
  const value = await handle.get(markerKey);
  return value === undefined ? undefined : openRecord(markerKey, value).toString("latin1");
}

function need(opened: ReadonlyMap<Part, LevelHandle>, part: Part): LevelHandle {
  const handle = opened.get(part);
  if (handle === undefined) throw new BlixardError("INTERNAL", `${part} was not opened`);
  return handle;
}
