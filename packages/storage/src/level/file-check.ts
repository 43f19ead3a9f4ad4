/**
 * Verifies the files of a LevelDB before it is opened. Opening replays its logs, skips what it cannot read there and
 * deletes them, so damage that is not found now is never found: the records are simply missing. Only files that the
 * manifest names are judged: others are left over from work that a crash interrupted.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorCodeOf, messageOf } from "@blixard/common";
import { corrupt } from "../records/record.ts";
import { readLevelLog } from "./leveldb-log.ts";
import { tableDamage } from "./leveldb-table.ts";
import { VarintReader } from "./varint-reader.ts";

export interface FileCheckOptions {
  /**
   * "synced": every write was synced, so only the last one can be incomplete. "unsynced": a power cut may have taken
   * any part of the logs, which the owner of the data has to notice by other means; they are not judged.
   */
  readonly logs: "synced" | "unsynced";
}

interface LiveFiles {
  /** Tables by number, with their sizes in bytes. */
  readonly tables: ReadonlyMap<number, number>;
  /** Logs with this number or a higher one are replayed. */
  readonly logNumber: number;
}

/** What was read and found whole. */
export interface CheckedFiles {
  readonly tables: number;
  /** Size of the tables. */
  readonly bytes: number;
}

/** @throws STORAGE_CORRUPT */
export async function checkLevelFiles(location: string, options: FileCheckOptions): Promise<CheckedFiles> {
  const live = await readManifest(location);
  let bytes = 0;
  for (const [number, sizeBytes] of live.tables) {
    await checkTable(location, number, sizeBytes);
    bytes += sizeBytes;
  }
  const checked = { tables: live.tables.size, bytes };
  if (options.logs === "unsynced") return checked;
  for (const name of await readdir(location)) {
    const number = /^(\d+)\.log$/.exec(name)?.[1];
    if (number === undefined || Number(number) < live.logNumber) continue;
    const { damagedAt } = readLevelLog(await readFile(join(location, name)));
    if (damagedAt !== undefined) throw corrupt(`${join(location, name)} is damaged at byte ${damagedAt}`);
  }
  return checked;
}

async function readManifest(location: string): Promise<LiveFiles> {
  const name = (await readNeeded(join(location, "CURRENT"))).toString("latin1").trimEnd();
  if (!/^MANIFEST-\d+$/.test(name)) throw corrupt(`${join(location, "CURRENT")} is damaged`);
  const path = join(location, name);
  const { writes, damagedAt } = readLevelLog(await readNeeded(path));
  if (damagedAt !== undefined) throw corrupt(`${path} is damaged at byte ${damagedAt}`);
  if (writes.length === 0) throw corrupt(`${path} holds no record`);
  const tables = new Map<number, number>();
  let logNumber = 0;
  try {
    for (const write of writes) logNumber = applyEdit(new VarintReader(write), tables) ?? logNumber;
  } catch (error) {
    throw corrupt(`${path} cannot be parsed: ${messageOf(error)}`, error);
  }
  return { tables, logNumber };
}

/** One version edit (LevelDB's db/version_edit.cc): fields, each a tag and its values. Returns a new log number. */
function applyEdit(reader: VarintReader, tables: Map<number, number>): number | undefined {
  let logNumber: number | undefined;
  while (!reader.ended) {
    const tag = reader.varint();
    if (tag === 1) reader.bytes();
    else if (tag === 2) logNumber = reader.varint();
    else if (tag === 3 || tag === 4 || tag === 9) reader.varint();
    else if (tag === 5) {
      reader.varint();
      reader.bytes();
    } else if (tag === 6) {
      reader.varint();
      tables.delete(reader.varint());
    } else if (tag === 7) {
      reader.varint();
      tables.set(reader.varint(), reader.varint());
      reader.bytes();
      reader.bytes();
    } else throw new RangeError(`unknown tag ${tag}`);
  }
  return logNumber;
}

async function checkTable(location: string, number: number, sizeBytes: number): Promise<void> {
  const base = join(location, `${number}`.padStart(6, "0"));
  const bytes = await readNeeded(`${base}.ldb`);
  const damage = bytes.length === sizeBytes ? tableDamage(bytes) : `it has ${bytes.length} bytes, not ${sizeBytes}`;
  if (damage !== undefined) throw corrupt(`${base}.ldb is damaged: ${damage}`);
}

async function readNeeded(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errorCodeOf(error) === "ENOENT") throw corrupt(`${path} is missing`, error);
    throw error;
  }
}
