/**
 * One LevelDB, fail-stop: after the first error of a write every later one is refused. LevelDB itself acknowledges
 * writes again once a full disk has room, and loses them at the next open.
 */
import { BlixardError, reasonOf } from "@blixard/common";
import { Level } from "level";
import { openError, readError } from "./level-errors.ts";

export type LevelOp =
  | { readonly type: "put"; readonly key: Buffer; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: Buffer };

export interface LevelHandleOptions {
  readonly location: string;
  /** When false, a directory without a database is STORAGE_CORRUPT: something that must be there is gone. */
  readonly createIfMissing: boolean;
  /** Bytes of writes that LevelDB holds in memory before it makes a table file. Default: 4 MiB. */
  readonly writeBufferBytes?: number;
}

/** What the handle uses of `level` on Node.js. A simulated disk is another implementation. */
export interface LevelDatabase {
  batch(): LevelBatch;
  get(key: Buffer): Promise<Buffer | undefined>;
  iterator(options: {
    readonly gte: Buffer;
    readonly lt: Buffer;
    readonly fillCache: boolean;
    /** From the last key to the first. */
    readonly reverse?: boolean;
    readonly snapshot?: LevelView;
  }): LevelIterator;
  snapshot(): LevelView;
  compactRange(start: Buffer, end: Buffer): Promise<void>;
  close(): Promise<void>;
}

/** Writes that take effect together. */
export interface LevelBatch {
  put(key: Buffer, value: Buffer): unknown;
  del(key: Buffer): unknown;
  write(options: { readonly sync: boolean }): Promise<void>;
}

export interface LevelIterator {
  nextv(count: number): Promise<[Buffer, Buffer][]>;
  close(): Promise<void>;
}

/** The database as it was at one moment. */
export interface LevelView {
  close(): Promise<void>;
}

interface PendingWrite {
  readonly ops: readonly LevelOp[];
  readonly sync: boolean;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export interface KeyRange {
  readonly gte: Buffer;
  readonly lt: Buffer;
}

const batchBytesMax = 4 * 1024 * 1024;
const readBatchItemsMax = 256;
const deleteBatchItemsMax = 1_000;
/** Above every key in use; `flush` compacts this empty range for its side effect. */
const emptyRange: KeyRange = { gte: Buffer.from([0xff, 0xfe]), lt: Buffer.from([0xff, 0xff]) };

export class LevelHandle {
  readonly #db: LevelDatabase;
  readonly #location: string;
  #pending: PendingWrite[] = [];
  #draining: Promise<void> | undefined;
  #failure: BlixardError | undefined;
  #closed = false;

  private constructor(db: LevelDatabase, location: string) {
    this.#db = db;
    this.#location = location;
  }

  /** @throws DATA_DIR_IN_USE, DATA_DIR_INVALID, STORAGE_CORRUPT or STORAGE_FAILED */
  static async open(options: LevelHandleOptions): Promise<LevelHandle> {
    const db = new Level<Buffer, Buffer>(options.location, {
      keyEncoding: "buffer",
      valueEncoding: "buffer",
      // Blocks stay readable for the file check, and the payloads are small or already dense.
      compression: false,
      ...(options.writeBufferBytes === undefined ? {} : { writeBufferSize: options.writeBufferBytes }),
    }) as Level<Buffer, Buffer> & LevelDatabase;
    try {
      await db.open({ createIfMissing: options.createIfMissing, passive: false });
    } catch (error) {
      throw await openError(error, options.location);
    }
    return new LevelHandle(db, options.location);
  }

  /** A handle on an open database; `location` only names it in errors. */
  static over(db: LevelDatabase, location: string): LevelHandle {
    return new LevelHandle(db, location);
  }

  /**
   * One atomic batch. Batches take effect in the order of the calls: those that wait for a write in flight go into
   * the next one together, which is one fsync for all of them.
   */
  write(ops: readonly LevelOp[], options: { readonly sync: boolean }): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#closed) return Promise.reject(new BlixardError("STOPPED", "the database is closed"));
    let bytes = 0;
    for (const op of ops) bytes += op.key.length + (op.type === "put" ? op.value.length : 0);
    return new Promise((resolve, reject) => {
      this.#pending.push({ ops, sync: options.sync, bytes, resolve, reject });
      this.#draining ??= this.#drain();
    });
  }

  async #drain(): Promise<void> {
    // Starts a turn later, so that the writes of one turn share their first batch too.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const group = this.#takeGroup();
      try {
        if (this.#failure !== undefined) throw this.#failure;
        const batch = this.#db.batch();
        for (const { ops } of group) {
          for (const op of ops) {
            if (op.type === "put") batch.put(op.key, op.value as Buffer);
            else batch.del(op.key);
          }
        }
        await batch.write({ sync: group.some(({ sync }) => sync) });
        for (const { resolve } of group) resolve();
      } catch (error) {
        const failure = this.#fail(error, "write");
        for (const { reject } of group) reject(failure);
      }
    }
    this.#draining = undefined;
  }

  #takeGroup(): PendingWrite[] {
    let bytes = 0;
    let count = 0;
    for (const write of this.#pending) {
      if (count > 0 && bytes + write.bytes > batchBytesMax) break;
      bytes += write.bytes;
      count++;
    }
    return this.#pending.splice(0, count);
  }

  #fail(error: unknown, operation: string): BlixardError {
    this.#failure ??= new BlixardError("STORAGE_FAILED", `${operation} in ${this.#location}: ${reasonOf(error)}`, {
      cause: error,
      outcome: "unknown",
      hint: "Check the free space and the health of the disk, then start the node again.",
    });
    return this.#failure;
  }

  /**
   * Makes every earlier write durable, then `mark` too. A synced write alone is not enough after unsynced ones:
   * LevelDB changes to a new log file without syncing the old one. Compacting an empty range first writes the
   * memory tables to (synced) table files.
   */
  async flush(mark: readonly LevelOp[]): Promise<void> {
    while (this.#draining !== undefined) await this.#draining;
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await this.#db.compactRange(emptyRange.gte, emptyRange.lt);
    } catch (error) {
      throw this.#fail(error, "flush");
    }
    // Errors of the compaction itself are not returned, but LevelDB refuses all later writes.
    await this.write(mark, { sync: true });
  }

  /** Rewrites the files that hold `range`, without what was deleted of it. */
  async compact(range: KeyRange): Promise<void> {
    try {
      await this.#db.compactRange(range.gte, range.lt);
    } catch (error) {
      throw this.#fail(error, "compact");
    }
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    try {
      return await this.#db.get(key);
    } catch (error) {
      throw readError(error, this.#location);
    }
  }

  /** Everything in `range` as it is now, in batches. */
  async *entries(range: KeyRange): AsyncIterable<readonly (readonly [Buffer, Buffer])[]> {
    yield* this.#read(this.#db.iterator({ gte: range.gte, lt: range.lt, fillCache: false }));
  }

  /** The record with the highest key in `range`. */
  async last(range: KeyRange): Promise<readonly [Buffer, Buffer] | undefined> {
    const iterator = this.#db.iterator({ gte: range.gte, lt: range.lt, fillCache: false, reverse: true });
    try {
      const [record] = await iterator.nextv(1);
      return record;
    } catch (error) {
      throw readError(error, this.#location);
    } finally {
      await iterator.close();
    }
  }

  /** The first records in `range`, as many as one read gives. */
  async firstOf(range: KeyRange): Promise<readonly (readonly [Buffer, Buffer])[]> {
    for await (const batch of this.entries(range)) return batch;
    return [];
  }

  /** A view of `range` that later writes do not change. */
  freeze(range: KeyRange): {
    entries(): AsyncIterable<readonly (readonly [Buffer, Buffer])[]>;
    close(): Promise<void>;
  } {
    const snapshot = this.#db.snapshot();
    return {
      entries: () => this.#read(this.#db.iterator({ gte: range.gte, lt: range.lt, fillCache: false, snapshot })),
      close: () => snapshot.close(),
    };
  }

  async *#read(iterator: LevelIterator): AsyncIterable<[Buffer, Buffer][]> {
    try {
      for (;;) {
        const batch = await iterator.nextv(readBatchItemsMax);
        if (batch.length === 0) return;
        yield batch;
      }
    } catch (error) {
      throw readError(error, this.#location);
    } finally {
      await iterator.close();
    }
  }

  /** Deletes what is in `range`, a bounded batch at a time, without syncing. */
  async deleteRange(range: KeyRange): Promise<void> {
    for await (const batch of this.entries(range)) {
      for (let at = 0; at < batch.length; at += deleteBatchItemsMax) {
        const ops = batch.slice(at, at + deleteBatchItemsMax).map(([key]): LevelOp => ({ type: "del", key }));
        await this.write(ops, { sync: false });
      }
    }
  }

  /** Waits for the writes that were accepted, then releases the files and their lock. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#draining !== undefined) await this.#draining;
    await this.#db.close();
  }
}
