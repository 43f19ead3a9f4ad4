/** The key layout of the three databases. Every key starts with one letter that names its kind. */
import { asLogIndex, type LogIndex } from "@blixard/raft/core";
import { readUint64, writeUint64 } from "../records/integers.ts";
import type { KeyRange } from "./level-handle.ts";

const letter = (text: string): Buffer => Buffer.from(text, "latin1");

/** In each database: the id of the data directory it belongs to. */
export const markerKey = letter("m");
export const allKeys: KeyRange = { gte: Buffer.from([0]), lt: Buffer.from([0xff]) };

/** The log: "h" hard state, "b" base, "n" starts, "e" + first index: a block of entries. */
export const hardStateKey = letter("h");
export const baseKey = letter("b");
export const startsKey = letter("n");
export const blockKeys: KeyRange = { gte: letter("e"), lt: letter("f") };
export const otherLogKeys: readonly KeyRange[] = [
  { gte: allKeys.gte, lt: blockKeys.gte },
  { gte: blockKeys.lt, lt: allKeys.lt },
];

export function blockKey(first: number): Buffer {
  const key = Buffer.allocUnsafe(9);
  key.write("e", 0, "latin1");
  writeUint64(key, first, 1);
  return key;
}

/** The first index of a block key, or undefined for any other key. */
export function blockKeyIndex(key: Buffer): LogIndex | undefined {
  return key.length === 9 && key[0] === 0x65 ? asLogIndex(readUint64(key, 1)) : undefined;
}

/** Snapshots: "p" the newest one, "c" + id + number: a chunk. State: "p" the generation in use, "g" + generation. */
export const pointerKey = letter("p");

export function chunkKey(id: number, number: number): Buffer {
  const key = Buffer.allocUnsafe(9);
  key.write("c", 0, "latin1");
  key.writeUInt32BE(id, 1);
  key.writeUInt32BE(number, 5);
  return key;
}

export function chunksOf(id: number): KeyRange {
  return { gte: chunkKey(id, 0), lt: chunkKey(id + 1, 0) };
}

/** All chunks of all snapshots but `id`. */
export function chunksExcept(id: number): readonly KeyRange[] {
  return [
    { gte: chunkKey(0, 0), lt: chunkKey(id, 0) },
    { gte: chunkKey(id + 1, 0), lt: letter("d") },
  ];
}

/** Parts of one generation of the state: "a" applied, "f" flushed, "s" seal, "j" + sequence: a write, "r": a record. */
export type GenerationPart = "a" | "f" | "j" | "r" | "s";

export function generationKey(generation: number, part: GenerationPart, rest: Uint8Array = Buffer.alloc(0)): Buffer {
  const key = Buffer.allocUnsafe(6 + rest.length);
  key.write("g", 0, "latin1");
  key.writeUInt32BE(generation, 1);
  key.write(part, 5, "latin1");
  key.set(rest, 6);
  return key;
}

export function generationPart(generation: number, part: GenerationPart): KeyRange {
  const next = { a: "b", f: "g", j: "k", r: "s", s: "t" } as const;
  const lt = generationKey(generation, part);
  lt.write(next[part], 5, "latin1");
  return { gte: generationKey(generation, part), lt };
}

/** Everything of all generations but `generation`. */
export function generationsExcept(generation: number): readonly KeyRange[] {
  return [
    { gte: generationKey(0, "a").subarray(0, 1), lt: generationKey(generation, "a").subarray(0, 5) },
    { gte: generationKey(generation + 1, "a").subarray(0, 5), lt: letter("h") },
  ];
}

export function journalKey(generation: number, sequence: number): Buffer {
  const rest = Buffer.allocUnsafe(8);
  writeUint64(rest, sequence, 0);
  return generationKey(generation, "j", rest);
}

export function journalSequence(key: Buffer): number {
  return readUint64(key, 6);
}

/** Makes the keys of the records of one table. */
export function tableKeys(generation: number, table: string): (key: Uint8Array) => Buffer {
  const name = Buffer.from(table, "utf8");
  const prefix = generationKey(generation, "r", Buffer.concat([Buffer.from([name.length]), name]));
  return (key) => {
    const made = Buffer.allocUnsafe(prefix.length + key.length);
    made.set(prefix, 0);
    made.set(key, prefix.length);
    return made;
  };
}

/** The table and key of a record key; undefined when it is damaged. */
export function parseRecordKey(key: Buffer): { readonly table: string; readonly key: Uint8Array } | undefined {
  const length = key[6];
  if (length === undefined || length === 0 || key.length < 7 + length) return undefined;
  return { table: key.toString("utf8", 7, 7 + length), key: new Uint8Array(key.subarray(7 + length)) };
}
