/**
 * What a damaged log database still holds. LevelDB cannot be asked: it passes over what it cannot read, and then shows
 * older versions of keys, or deleted ones. So the files are read here, and the result is used only when the newest head
 * of the log is certain to be among what was read: it says where the log ends, and its chain proves every entry before
 * (see log-assembly.ts). Everything else may be missing or old, and is found out by that.
 *
 * - A write-ahead log is newer than every table. Behind its last damage, a write with the head has to follow.
 * - When no write-ahead log holds the head, it stands in the tables: no damaged block of them may reach over its key.
 */
import { BlixardError, messageOf } from "@blixard/common";
import { unpackHead } from "../records/log-head.ts";
import { openRecord } from "../records/record.ts";
import { type ReadableFiles, readDamagedFiles } from "./file-check.ts";
import { allKeys, hardStateKey, markerKey } from "./keys.ts";
import { VarintReader } from "./varint-reader.ts";

export interface SalvagedLog {
  /** The newest readable version of each key. */
  readonly records: readonly (readonly [key: Buffer, value: Buffer])[];
  /** Each damaged place, in words. */
  readonly damage: readonly string[];
}

const batchHeaderBytes = 12;

/** @throws STORAGE_CORRUPT when it is not certain where the log ends */
export async function salvageLog(location: string): Promise<SalvagedLog> {
  const files = await readDamagedFiles(location);
  const newest = new Map<string, Buffer | undefined>();
  const sequences = new Map<string, number>();
  for (const { entries } of files.tables) {
    for (const { key, sequence, value } of entries) {
      const name = key.toString("latin1");
      if (sequence < (sequences.get(name) ?? -1)) continue;
      sequences.set(name, sequence);
      newest.set(name, value);
    }
  }
  const certain = replayLogs(files, newest) ?? !files.tables.some(({ lost }) => lost.some(reachesOver(hardStateKey)));
  const records: [Buffer, Buffer][] = [];
  for (const [name, value] of newest) {
    const key = Buffer.from(name, "latin1");
    if (value === undefined || allKeys.gte.compare(key) > 0 || allKeys.lt.compare(key) <= 0) continue;
    records.push([key, value]);
  }
  if (!certain) throw unprovable(location, "the record of its end is, or may be, among what is damaged");
  assertReadable(location, newest);
  return { records, damage: files.damage };
}

/** Applies what the write-ahead logs hold. Says whether the head in them is the newest; undefined when none has one. */
function replayLogs({ logs }: ReadableFiles, newest: Map<string, Buffer | undefined>): boolean | undefined {
  const head = hardStateKey.toString("latin1");
  let certain: boolean | undefined;
  for (const { writes, damage } of logs) {
    for (let at = 0; at <= writes.length; at++) {
      if (damage.some(({ writesBefore }) => writesBefore === at)) certain = false;
      const write = writes[at];
      if (write === undefined) continue;
      for (const [key, value] of opsOf(write)) {
        newest.set(key, value);
        if (key === head) certain = true;
      }
    }
  }
  return certain;
}

/** LevelDB's write batch: sequence (8) | count (4) | operations of type (1), key and, for type 1, value. */
function* opsOf(write: Buffer): Iterable<readonly [string, Buffer | undefined]> {
  const reader = new VarintReader(write);
  reader.bytes(batchHeaderBytes);
  while (!reader.ended) {
    const isValue = reader.bytes(1)[0] === 1;
    const key = reader.bytes().toString("latin1");
    yield [key, isValue ? reader.bytes() : undefined];
  }
}

function reachesOver(key: Buffer) {
  return ({ from, to }: { readonly from: Buffer; readonly to: Buffer }) =>
    from.compare(key) <= 0 && to.compare(key) >= 0;
}

/** Without the id of the directory and the head, nothing that was read can be judged. */
function assertReadable(location: string, newest: ReadonlyMap<string, Buffer | undefined>): void {
  try {
    const [marker, head] = [markerKey, hardStateKey].map((key) => newest.get(key.toString("latin1")));
    if (marker === undefined || head === undefined) throw new RangeError("a record is missing");
    openRecord(markerKey, marker);
    if (unpackHead(openRecord(hardStateKey, head)).end === undefined) throw new RangeError("an older release wrote it");
  } catch (error) {
    throw unprovable(location, messageOf(error));
  }
}

function unprovable(location: string, reason: string): BlixardError {
  return new BlixardError("STORAGE_CORRUPT", `${location} is damaged, and it is not certain where the log ends`, {
    cause: new Error(reason),
    hint: "See what is wrong with: blixard check. Then, when others of its cluster have the data: blixard recover.",
  });
}
