/**
 * Snapshots on LevelDB, in chunks of a fixed size so that any offset is found without an index. A snapshot is written
 * under an id of its own; one synced record then makes it the newest, and the chunks of the older one are deleted.
 */
import { abortReason, BlixardError, errorCodeOf, SerialQueue } from "@blixard/common";
import type { SnapshotMeta, SnapshotStore } from "@blixard/raft";
import type { LogIndex } from "@blixard/raft/core";
import { pack, plainApplied, unpack } from "../records/packed.ts";
import { corrupt, openRecord, sealRecord } from "../records/record.ts";
import type { DamageLedger } from "./damage-ledger.ts";
import { chunkKey, chunksExcept, chunksOf, pointerKey } from "./keys.ts";
import type { LevelHandle } from "./level-handle.ts";

const chunkBytes = 128 * 1024;

interface Pointer {
  readonly id: number;
  readonly chunkBytes: number;
  readonly meta: SnapshotMeta;
}

export class LevelSnapshotStore implements SnapshotStore {
  readonly #handle: LevelHandle;
  readonly #turns = new SerialQueue();
  readonly #damage: DamageLedger;
  #newest: Pointer | undefined;
  #lastId = 0;
  /** True when the newest snapshot is damaged: it is kept, and used for nothing, until another one is saved. */
  #isDamaged = false;
  #onDamaged: () => void = () => {};

  private constructor(handle: LevelHandle, damage: DamageLedger) {
    this.#handle = handle;
    this.#damage = damage;
  }

  /** Reads which snapshot is the newest and removes what an unfinished save left behind. */
  static async open(handle: LevelHandle, damage: DamageLedger): Promise<LevelSnapshotStore> {
    const store = new LevelSnapshotStore(handle, damage);
    const value = await handle.get(pointerKey);
    if (value !== undefined) {
      store.#newest = unpack<Pointer>(openRecord(pointerKey, value), "the newest snapshot");
      store.#lastId = store.#newest.id;
    }
    for (const range of chunksExcept(store.#lastId)) await handle.deleteRange(range);
    if (value === undefined) await handle.deleteRange(chunksOf(0));
    return store;
  }

  async latest(): Promise<SnapshotMeta | undefined> {
    return this.#isDamaged ? undefined : this.#newest?.meta;
  }

  onDamaged(listener: () => void): void {
    this.#onDamaged = listener;
  }

  /**
   * Reads the newest snapshot from its first byte to its last, and yields the bytes of each chunk. A damaged one is
   * noted, and ends it.
   */
  async *scrub(): AsyncIterable<number> {
    const newest = this.#newest;
    if (newest === undefined || this.#isDamaged) return;
    const { index, sizeBytes } = newest.meta;
    for (let offset = 0; offset < sizeBytes && this.#newest === newest; offset += newest.chunkBytes) {
      try {
        const chunk = await this.read(index, offset, newest.chunkBytes);
        yield chunk.length;
      } catch (error) {
        const code = errorCodeOf(error);
        if (code === "STORAGE_CORRUPT" || code === "NOT_FOUND") return;
        throw error;
      }
    }
  }

  #noteDamage(pointer: Pointer): void {
    if (this.#newest !== pointer || this.#isDamaged) return;
    this.#isDamaged = true;
    this.#damage.found(1);
    this.#onDamaged();
  }

  async save(
    meta: Omit<SnapshotMeta, "sizeBytes">,
    chunks: AsyncIterable<Uint8Array>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<SnapshotMeta> {
    this.#refuseOlder(meta.index);
    this.#lastId++;
    const id = this.#lastId;
    try {
      const sizeBytes = await this.#writeChunks(id, chunks, options.signal);
      const saved: SnapshotMeta = { ...plainApplied(meta), sizeBytes };
      await this.#turns.run(() => this.#becomeNewest({ id, chunkBytes, meta: saved }));
      return saved;
    } catch (error) {
      // Chunks without a pointer mean nothing; the next open removes those that stay because the disk failed.
      if (this.#newest?.id !== id) await this.#handle.deleteRange(chunksOf(id)).catch(() => {});
      throw error;
    }
  }

  /** One at a time: of two saves that end together, the older one may neither come last on disk nor delete the newer. */
  async #becomeNewest(pointer: Pointer): Promise<void> {
    this.#refuseOlder(pointer.meta.index);
    await this.#handle.flush([{ type: "put", key: pointerKey, value: sealRecord(pointerKey, pack(pointer)) }]);
    const older = this.#newest;
    this.#newest = pointer;
    if (this.#isDamaged) this.#damage.repaired(1);
    this.#isDamaged = false;
    if (older !== undefined) await this.#handle.deleteRange(chunksOf(older.id));
  }

  #refuseOlder(index: LogIndex): void {
    if (this.#newest === undefined || this.#newest.meta.index <= index) return;
    throw new BlixardError("CONFLICT", `a snapshot at ${this.#newest.meta.index} replaces the one at ${index}`);
  }

  /** Cuts the stream into chunks of the fixed size and returns its length. */
  async #writeChunks(id: number, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Promise<number> {
    const buffer = Buffer.alloc(chunkBytes);
    let filled = 0;
    let number = 0;
    const store = async () => {
      const key = chunkKey(id, number);
      await this.#handle.write([{ type: "put", key, value: sealRecord(key, buffer.subarray(0, filled)) }], {
        sync: false,
      });
      number++;
      filled = 0;
    };
    let sizeBytes = 0;
    for await (const chunk of chunks) {
      if (signal?.aborted) throw abortReason(signal);
      sizeBytes += chunk.length;
      for (let at = 0; at < chunk.length; ) {
        const part = chunk.subarray(at, at + chunkBytes - filled);
        buffer.set(part, filled);
        filled += part.length;
        at += part.length;
        if (filled === chunkBytes) await store();
      }
    }
    if (signal?.aborted) throw abortReason(signal);
    if (filled > 0) await store();
    return sizeBytes;
  }

  async read(index: LogIndex, offset: number, bytesMax: number): Promise<Uint8Array> {
    const newest = this.#newest;
    if (newest?.meta.index !== index) throw superseded(index);
    try {
      return await this.#read(newest, offset, bytesMax);
    } catch (error) {
      if (errorCodeOf(error) === "STORAGE_CORRUPT") this.#noteDamage(newest);
      throw error;
    }
  }

  async #read(newest: Pointer, offset: number, bytesMax: number): Promise<Uint8Array> {
    const { index } = newest.meta;
    const wanted = Math.max(0, Math.min(bytesMax, newest.meta.sizeBytes - offset));
    const out = new Uint8Array(wanted);
    for (let filled = 0; filled < wanted; ) {
      const at = offset + filled;
      const number = Math.floor(at / newest.chunkBytes);
      const key = chunkKey(newest.id, number);
      const value = await this.#handle.get(key);
      if (value === undefined) {
        if (this.#newest?.id !== newest.id) throw superseded(index);
        throw corrupt(`chunk ${number} of the snapshot at ${index} is missing`);
      }
      const chunk = openRecord(key, value);
      const from = at - number * newest.chunkBytes;
      const part = chunk.subarray(from, from + wanted - filled);
      if (part.length === 0) throw corrupt(`chunk ${number} of the snapshot at ${index} is cut off`);
      out.set(part, filled);
      filled += part.length;
    }
    return out;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

function superseded(index: LogIndex): BlixardError {
  return new BlixardError("NOT_FOUND", `there is no snapshot at ${index} any more`);
}
