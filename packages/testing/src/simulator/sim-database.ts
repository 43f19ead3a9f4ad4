/**
 * A LevelDB on a simulated disk, with what was measured of the real one: un-synced writes may be lost, cut or missing in
 * the middle after a power cut; a synced write covers the log file in use, not the one before it; after one failed
 * write nothing that is acknowledged later survives; a flipped bit in a stored value is returned without an error.
 *
 *     write -> the log file in use -> (a sync, or the change to a new log file + compaction) -> durable
 */
import type { Random } from "@blixard/common";
import type { LevelBatch, LevelDatabase, LevelIterator, LevelView } from "@blixard/storage/level";
import { chance, integer } from "./seeds.ts";
import type { SimProcess } from "./sim-process.ts";

type Op = { readonly key: string; readonly value: Buffer | undefined };

interface WrittenBatch {
  readonly ops: readonly Op[];
  readonly file: number;
  durable: boolean;
  /** LevelDB said yes after an earlier error: gone at the next open, whatever happens. */
  readonly doomed: boolean;
}

/** How much of what was not durable is there after a crash. `kill` ends only the process: the system keeps its writes. */
export type CrashMode = "kill" | "lost" | "prefix" | "reordered";

/** What all files of one machine share. */
export interface DiskConditions {
  /** Milliseconds of one sync. */
  readonly syncMs: () => number;
  readonly isFull: () => boolean;
  /** True when this write or sync shall fail; asked once for each. */
  readonly takeSyncError: () => boolean;
}

/** The files of one database: what outlives a process. */
export class DatabaseFiles {
  #base = new Map<string, Buffer>();
  #written: WrittenBatch[] = [];

  get size(): number {
    return this.#base.size;
  }

  append(batch: WrittenBatch): void {
    this.#written.push(batch);
  }

  /** Everything in `file` that was written before `batch`, and itself, is durable. */
  synced(batch: WrittenBatch): void {
    for (const written of this.#written) {
      if (written.file === batch.file && !written.doomed) written.durable = true;
      if (written === batch) break;
    }
    this.#fold();
  }

  /** The tables of all log files before `file` were written. */
  compacted(file: number): void {
    for (const written of this.#written) if (written.file < file && !written.doomed) written.durable = true;
    this.#fold();
  }

  #fold(): void {
    let count = 0;
    for (const { durable, ops } of this.#written) {
      if (!durable) break;
      take(this.#base, ops);
      count++;
    }
    if (count > 0) this.#written.splice(0, count);
  }

  /** What the next process finds. */
  crash(mode: CrashMode, random: Random): void {
    const kept = mode === "prefix" ? integer(random, 0, this.#written.length) : this.#written.length;
    for (const [at, batch] of this.#written.entries()) {
      if (batch.doomed) continue;
      const survives =
        batch.durable ||
        mode === "kill" ||
        (mode === "prefix" && at < kept) ||
        (mode === "reordered" && chance(random, 0.5));
      if (survives) take(this.#base, batch.ops);
    }
    this.#written = [];
  }

  /** Flips one bit of one stored value. False when nothing is stored. */
  rot(random: Random): boolean {
    const keys = [...this.#base.keys()].sort();
    const key = keys[Math.floor(random.next() * keys.length)];
    const value = key === undefined ? undefined : this.#base.get(key);
    if (key === undefined || value === undefined || value.length === 0) return false;
    const damaged = Buffer.from(value);
    const at = integer(random, 0, damaged.length - 1);
    damaged[at] = (damaged[at] ?? 0) ^ (1 << integer(random, 0, 7));
    this.#base.set(key, damaged);
    return true;
  }

  /** Somebody puts other files in their place while no process has them open. */
  replaceWith(contents: ReadonlyMap<string, Buffer>): void {
    this.#base = new Map(contents);
    this.#written = [];
  }

  contents(): Map<string, Buffer> {
    const all = new Map(this.#base);
    for (const { ops, doomed } of this.#written) if (!doomed) take(all, ops);
    return all;
  }
}

function take(into: Map<string, Buffer>, ops: readonly Op[]): void {
  for (const { key, value } of ops) {
    if (value === undefined) into.delete(key);
    else into.set(key, value);
  }
}

/** Bytes of one log file; small, so that runs see many changes of files. */
const logFileBytesMax = 64 * 1024;
const compactionDelayMs = 100;

/** An open database of one process. */
export class SimDatabase implements LevelDatabase {
  readonly #files: DatabaseFiles;
  readonly #process: SimProcess;
  readonly #disk: DiskConditions;
  readonly #view: Map<string, Buffer>;
  #file = 0;
  #fileBytes = 0;
  #readOnly: Error | undefined;
  #lostRoom = false;

  constructor(files: DatabaseFiles, process: SimProcess, disk: DiskConditions) {
    this.#files = files;
    this.#process = process;
    this.#disk = disk;
    this.#view = files.contents();
  }

  batch(): LevelBatch {
    const ops: Op[] = [];
    let bytes = 0;
    return {
      put: (key, value) => {
        bytes += key.length + value.length;
        // A copy, as the real one makes: what the caller does with its buffer later changes nothing.
        ops.push({ key: key.toString("latin1"), value: Buffer.from(value) });
      },
      del: (key) => {
        bytes += key.length;
        ops.push({ key: key.toString("latin1"), value: undefined });
      },
      write: ({ sync }) => this.#write(ops, bytes, sync),
    };
  }

  #write(ops: readonly Op[], bytes: number, sync: boolean): Promise<void> {
    if (!this.#process.alive) return never();
    if (this.#readOnly !== undefined) return Promise.reject(this.#readOnly);
    if (this.#disk.isFull()) {
      this.#lostRoom = true;
      return Promise.reject(new Error("IO error: No space left on device"));
    }
    this.#rotate(bytes);
    const batch: WrittenBatch = { ops, file: this.#file, durable: false, doomed: this.#lostRoom };
    this.#files.append(batch);
    if (!sync) {
      if (this.#disk.takeSyncError()) return Promise.reject(this.#broken("write"));
      take(this.#view, ops);
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.#process.after(this.#disk.syncMs(), () => {
        if (this.#disk.takeSyncError()) {
          reject(this.#broken("fdatasync"));
          return;
        }
        take(this.#view, ops);
        this.#files.synced(batch);
        resolve();
      });
    });
  }

  #broken(call: string): Error {
    this.#readOnly = new Error(`IO error: ${call}: Input/output error`);
    return this.#readOnly;
  }

  #rotate(bytes: number): void {
    this.#fileBytes += bytes;
    if (this.#fileBytes <= logFileBytesMax) return;
    this.#file++;
    this.#fileBytes = bytes;
    const file = this.#file;
    this.#process.after(compactionDelayMs, () => this.#files.compacted(file));
  }

  compactRange(): Promise<void> {
    if (!this.#process.alive) return never();
    if (this.#readOnly !== undefined) return Promise.reject(this.#readOnly);
    this.#file++;
    this.#fileBytes = 0;
    const file = this.#file;
    return new Promise((resolve) => {
      this.#process.after(this.#disk.syncMs(), () => {
        this.#files.compacted(file);
        resolve();
      });
    });
  }

  get(key: Buffer): Promise<Buffer | undefined> {
    if (!this.#process.alive) return never();
    return Promise.resolve(this.#view.get(key.toString("latin1")));
  }

  snapshot(): LevelView & { readonly contents: ReadonlyMap<string, Buffer> } {
    return { contents: new Map(this.#view), close: () => Promise.resolve() };
  }

  iterator(options: Parameters<LevelDatabase["iterator"]>[0]): LevelIterator {
    const frozen = options.snapshot as { readonly contents: ReadonlyMap<string, Buffer> } | undefined;
    const from = frozen?.contents ?? this.#view;
    const [gte, lt] = [options.gte.toString("latin1"), options.lt.toString("latin1")];
    const rows: [Buffer, Buffer][] = [];
    for (const key of [...from.keys()].filter((name) => name >= gte && name < lt).sort()) {
      const value = from.get(key);
      if (value !== undefined) rows.push([Buffer.from(key, "latin1"), value]);
    }
    if (options.reverse === true) rows.reverse();
    let at = 0;
    return {
      nextv: (count) => {
        if (!this.#process.alive) return never();
        const piece = rows.slice(at, at + count);
        at += piece.length;
        return Promise.resolve(piece);
      },
      close: () => Promise.resolve(),
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A dead process waits for nothing: its promises stay as they are. */
function never<T>(): Promise<T> {
  return new Promise(() => {});
}
