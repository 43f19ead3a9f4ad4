/**
 * Verifies the files of a LevelDB before it is opened. Opening replays its logs, skips what it cannot read there and
 * deletes them, so damage that is not found now is never found: the records are simply missing. Only files that the
 * manifest names are judged: others are left over from work that a crash interrupted.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type BlixardError, changedError, messageOf, systemErrorCodeOf } from "@blixard/common";
import { corrupt } from "../records/record.ts";
import { type LevelLog, readLevelLog } from "./leveldb-log.ts";
import { type KeySpan, type SalvagedTable, salvageTable, tableDamage, userKeyOf } from "./leveldb-table.ts";
import { VarintReader } from "./varint-reader.ts";

export interface FileCheckOptions {
  /**
   * "synced": every write was synced, so only the last one can be incomplete. "unsynced": a power cut may have taken
   * any part of the logs, which the owner of the data has to notice by other means; they are not judged.
   */
  readonly logs: "synced" | "unsynced";
  /** "sized": only their sizes are compared, because the owner of the data reads all of it and checks it by itself. */
  readonly tables?: "read" | "sized";
}

interface LiveTable {
  readonly sizeBytes: number;
  readonly span: KeySpan;
}

interface LiveFiles {
  readonly tables: ReadonlyMap<number, LiveTable>;
  /** Logs with this number or a higher one are replayed. The first of them exists, whenever the power went. */
  readonly logNumber: number;
}

/** What was read and found whole. */
export interface CheckedFiles {
  readonly tables: number;
  /** Size of the tables. */
  readonly bytes: number;
}

/**
 * A manifest that lost its last records reads like one whose last write a power cut interrupted. But LevelDB deletes
 * files only when a durable record says that they are not needed: so where a record is lost, a file that the others name
 * is missing.
 * @throws STORAGE_CORRUPT, for which {@link isIncomplete} tells lost files and records from damaged tables
 */
export async function checkLevelFiles(location: string, options: FileCheckOptions): Promise<CheckedFiles> {
  const live = await readManifest(location);
  let bytes = 0;
  for (const [number, { sizeBytes }] of live.tables) {
    const path = tablePath(location, number);
    const damage =
      options.tables === "sized"
        ? sizeDamage(await sizeOf(path), sizeBytes)
        : damageOf(await readNeeded(path), sizeBytes);
    if (damage !== undefined) throw corrupt(`${path} is damaged: ${damage}`);
    bytes += sizeBytes;
  }
  const checked = { tables: live.tables.size, bytes };
  const logs = await liveLogs(location, live);
  if (!hasFirstLog(logs, live)) throw incomplete(`${logPath(location, live.logNumber)} is missing`);
  if (options.logs === "unsynced") return checked;
  for (const path of logs) {
    const [damage] = readLevelLog(await readFile(path)).damage;
    if (damage !== undefined) throw corrupt(`${path} is damaged at byte ${damage.at}`);
  }
  return checked;
}

/** What can be read of damaged files: tables block by block, and write-ahead logs in the order of their writing. */
export interface ReadableFiles {
  readonly tables: readonly SalvagedTable[];
  readonly logs: readonly LevelLog[];
  /** Each damaged place, in words. */
  readonly damage: readonly string[];
}

/** @throws STORAGE_CORRUPT when the manifest or a whole file is missing or unreadable */
export async function readDamagedFiles(location: string): Promise<ReadableFiles> {
  const live = await readManifest(location);
  const damage: string[] = [];
  const tables: SalvagedTable[] = [];
  for (const [number, { sizeBytes, span }] of live.tables) {
    const path = tablePath(location, number);
    const bytes = await readNeeded(path);
    const reason = damageOf(bytes, sizeBytes);
    const table = bytes.length === sizeBytes ? salvageTable(bytes, span) : { entries: [], lost: [span] };
    tables.push(table);
    for (const { from, to } of table.lost)
      damage.push(`${path}: keys ${from.toString("hex")} to ${to.toString("hex")}`);
    // A filter or an index of nothing is no loss.
    if (table.lost.length === 0 && reason !== undefined) damage.push(`${path}: ${reason}`);
  }
  const logs: LevelLog[] = [];
  const paths = await liveLogs(location, live);
  if (!hasFirstLog(paths, live)) {
    // Tables that nothing names any more may hold what came before the logs that are left.
    damage.push(`${logPath(location, live.logNumber)}: missing`);
    logs.push({ writes: [], damage: [{ at: 0, writesBefore: 0 }] });
  }
  for (const path of paths) {
    const log = readLevelLog(await readFile(path));
    for (const { at } of log.damage) damage.push(`${path}: at byte ${at}`);
    logs.push(log);
  }
  return { tables, logs, damage };
}

/** The write-ahead logs that opening replays, oldest first. */
async function liveLogs(location: string, { logNumber }: LiveFiles): Promise<string[]> {
  const numbered: { readonly name: string; readonly number: number }[] = [];
  for (const name of await readdir(location)) {
    const number = Number(/^(\d+)\.log$/.exec(name)?.[1]);
    if (number >= logNumber) numbered.push({ name, number });
  }
  return numbered.sort((a, b) => a.number - b.number).map(({ name }) => join(location, name));
}

function hasFirstLog(paths: readonly string[], { logNumber }: LiveFiles): boolean {
  return paths.some((path) => Number(/(\d+)\.log$/.exec(path)?.[1]) === logNumber);
}

/** True when what is missing was there once, and what is there was not damaged: as after a lost write, or a cut copy. */
export function isIncomplete(error: unknown): boolean {
  return (error as { details?: { incomplete?: unknown } }).details?.incomplete === true;
}

function incomplete(message: string, cause?: unknown): BlixardError {
  return changedError(corrupt(message, cause), { details: { incomplete: true } });
}

async function readManifest(location: string): Promise<LiveFiles> {
  const name = (await readNeeded(join(location, "CURRENT"))).toString("latin1");
  if (!/^MANIFEST-\d+\n$/.test(name)) throw incomplete(`${join(location, "CURRENT")} is damaged`);
  const path = join(location, name.trimEnd());
  const { writes, damage } = readLevelLog(await readNeeded(path));
  if (damage[0] !== undefined) throw incomplete(`${path} is damaged at byte ${damage[0].at}`);
  const tables = new Map<number, LiveTable>();
  let logNumber: number | undefined;
  try {
    for (const write of writes) logNumber = applyEdit(new VarintReader(write), tables) ?? logNumber;
  } catch (error) {
    throw corrupt(`${path} cannot be parsed: ${messageOf(error)}`, error);
  }
  if (logNumber === undefined) throw incomplete(`${path} has lost its records`);
  return { tables, logNumber };
}

/** One version edit (LevelDB's db/version_edit.cc): fields, each a tag and its values. Returns a new log number. */
function applyEdit(reader: VarintReader, tables: Map<number, LiveTable>): number | undefined {
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
      const number = reader.varint();
      const sizeBytes = reader.varint();
      const span = { from: userKeyOf(reader.bytes()), to: userKeyOf(reader.bytes()) };
      tables.set(number, { sizeBytes, span });
    } else throw new RangeError(`unknown tag ${tag}`);
  }
  return logNumber;
}

const fileName = (number: number): string => `${number}`.padStart(6, "0");
const tablePath = (location: string, number: number): string => join(location, `${fileName(number)}.ldb`);
const logPath = (location: string, number: number): string => join(location, `${fileName(number)}.log`);

function damageOf(bytes: Buffer, sizeBytes: number): string | undefined {
  return sizeDamage(bytes.length, sizeBytes) ?? tableDamage(bytes);
}

function sizeDamage(foundBytes: number, sizeBytes: number): string | undefined {
  return foundBytes === sizeBytes ? undefined : `it has ${foundBytes} bytes, not ${sizeBytes}`;
}

const readNeeded = (path: string): Promise<Buffer> => needed(path, readFile(path));
const sizeOf = async (path: string): Promise<number> => (await needed(path, stat(path))).size;

async function needed<T>(path: string, read: Promise<T>): Promise<T> {
  try {
    return await read;
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") throw incomplete(`${path} is missing`, error);
    throw error;
  }
}
