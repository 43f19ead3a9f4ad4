/**
 * The replicated state on LevelDB. Writes are not synced: what a power cut takes is replayed from the Raft log. But a
 * disk may keep unsynced writes out of order, and LevelDB skips what it cannot read, so that a write in the middle can
 * be gone while later ones are there. Therefore each write leaves a numbered mark until the next flush. Where a mark
 * is missing, the state is not one that ever existed: it is dropped and rebuilt from the snapshot and the log.
 *
 * The marks say nothing about what was flushed before them. That is proved by the seal: it is written before a flush,
 * into the same files as what is flushed, and must not be behind the record that is written after it.
 *
 * Replacing the whole state builds a new generation of keys beside the one in use; one synced record changes over.
 */
import { assert, BlixardError, errorCodeOf, type Logger, SerialQueue } from "@blixard/common";
import type { AppliedState } from "@blixard/raft";
import { asLogIndex, asTerm } from "@blixard/raft/core";
import { pack, plainApplied, unpack } from "../records/packed.ts";
import { corrupt, openRecord, sealRecord } from "../records/record.ts";
import type { LoadedState, StateChange, StateRecord, StateSnapshot, StateStore } from "../state-store.ts";
import type { DamageLedger } from "./damage-ledger.ts";
import {
  generationKey,
  generationPart,
  generationsExcept,
  journalKey,
  journalSequence,
  parseRecordKey,
  pointerKey,
  tableKeys,
} from "./keys.ts";
import type { LevelHandle, LevelOp } from "./level-handle.ts";

interface AppliedRecord {
  readonly applied: AppliedState;
  /** Number of the write in its generation. */
  readonly sequence: number;
}

/** What is written when everything up to `sequence`, or a whole generation, is durable. */
interface FlushRecord {
  readonly sequence: number;
  /** Missing in the records of older releases, which wrote no seal. */
  readonly sealed?: true;
}

interface GenerationRecord {
  readonly generation: number;
  readonly sealed?: true;
}

const markPayload = Buffer.alloc(0);
const tableBytesMax = 255;
/** Writes between two flushes that the store asks for by itself, so that the marks stay few. */
const unflushedWritesMax = 8_192;

export const emptyApplied: AppliedState = {
  index: asLogIndex(0),
  term: asTerm(0),
  confState: { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
};

export class LevelStateStore implements StateStore {
  readonly #handle: LevelHandle;
  readonly #logger: Logger;
  readonly #writes = new SerialQueue();
  #generation = 0;
  #sequence = 0;
  #flushedSequence = 0;
  #applied: AppliedState = emptyApplied;
  readonly #damage: DamageLedger;
  #isLoaded = false;
  #isDamaged = false;
  #onDamaged: () => void = () => {};

  constructor(handle: LevelHandle, logger: Logger, damage: DamageLedger) {
    this.#handle = handle;
    this.#logger = logger;
    this.#damage = damage;
  }

  async load(): Promise<LoadedState> {
    const pointer = await this.#readRecord<GenerationRecord>(pointerKey, "the generation of the state");
    this.#generation = pointer?.generation ?? 0;
    for (const range of generationsExcept(this.#generation)) await this.#handle.deleteRange(range);
    const head = await this.#readRecord<AppliedRecord>(generationKey(this.#generation, "a"), "the applied position");
    const flushed = await this.#readRecord<FlushRecord>(generationKey(this.#generation, "f"), "a flush mark");
    const seal = await this.#readRecord<FlushRecord>(generationKey(this.#generation, "s"), "the seal of the state");
    this.#sequence = head?.sequence ?? 0;
    this.#flushedSequence = flushed?.sequence ?? 0;
    const isSealed = flushed?.sealed === true || pointer?.sealed === true;
    if (isSealed && (seal === undefined || seal.sequence < this.#flushedSequence)) {
      this.#damage.remade();
      await this.#discard("state has lost what was flushed");
    } else if (await this.#isComplete()) this.#applied = head?.applied ?? emptyApplied;
    else await this.#discard("state has a gap after a power cut");
    this.#isLoaded = true;
    return { applied: this.#applied, records: this.#records(this.#handle.entries(this.#recordRange())) };
  }

  onDamaged(listener: () => void): void {
    this.#onDamaged = listener;
  }

  /** Reads every record, in pieces, and yields the bytes of each piece. Damage is noted, and ends it. */
  async *scrub(): AsyncIterable<number> {
    const generation = this.#generation;
    const range = generationPart(generation, "r");
    for (let from: Buffer | undefined = range.gte; from !== undefined; ) {
      let piece: readonly (readonly [Buffer, Buffer])[] = [];
      try {
        piece = await this.#handle.firstOf({ gte: from, lt: range.lt });
        // A state that was replaced meanwhile was written as a whole.
        if (!this.#isLoaded || this.#generation !== generation) return;
        for (const [key, value] of piece) openRecord(key, value);
      } catch (error) {
        if (errorCodeOf(error) !== "STORAGE_CORRUPT") throw error;
        this.#noteDamage(generation);
        return;
      }
      yield piece.reduce((bytes, [, value]) => bytes + value.length, 0);
      const last: Buffer | undefined = piece.at(-1)?.[0];
      from = last === undefined ? undefined : Buffer.concat([last, Buffer.from([0])]);
    }
  }

  #noteDamage(generation: number): void {
    if (this.#isDamaged || this.#generation !== generation) return;
    this.#isDamaged = true;
    this.#damage.found(1);
    this.#logger.log("error", "the stored state is damaged; it is written anew from memory");
    this.#onDamaged();
  }

  async #readRecord<T>(key: Buffer, what: string): Promise<T | undefined> {
    const value = await this.#handle.get(key);
    return value === undefined ? undefined : unpack<T>(openRecord(key, value), what);
  }

  /** True when every write since the last flush, up to the applied one, left its mark. */
  async #isComplete(): Promise<boolean> {
    let expected = this.#flushedSequence + 1;
    for await (const batch of this.#handle.entries(generationPart(this.#generation, "j"))) {
      for (const [key, value] of batch) {
        openRecord(key, value);
        const sequence = journalSequence(key);
        if (sequence < expected) continue;
        if (sequence > expected) return false;
        expected++;
      }
    }
    return expected === Math.max(this.#sequence, this.#flushedSequence) + 1;
  }

  async #discard(reason: string): Promise<void> {
    this.#logger.log("warn", `${reason}; it is rebuilt from the snapshot and the log`, {
      sequence: this.#sequence,
      flushedSequence: this.#flushedSequence,
    });
    await this.#changeOver(emptyApplied);
  }

  /** Makes the next generation, whose records are complete, the one in use. */
  async #changeOver(applied: AppliedState): Promise<void> {
    const old = this.#generation;
    const generation = old + 1;
    await this.#handle.write([sealedPut(generationKey(generation, "s"), { sequence: 0 })], { sync: false });
    await this.#handle.flush([
      sealedPut(generationKey(generation, "a"), { applied: plainApplied(applied), sequence: 0 }),
      sealedPut(pointerKey, { generation, sealed: true } satisfies GenerationRecord),
    ]);
    this.#generation = generation;
    this.#sequence = 0;
    this.#flushedSequence = 0;
    this.#applied = applied;
    for (const range of generationsExcept(generation)) await this.#handle.deleteRange(range);
    if (!this.#isDamaged) return;
    this.#isDamaged = false;
    this.#damage.repaired(1);
    // The damaged files go with what was deleted.
    for (const range of generationsExcept(generation)) await this.#handle.compact(range);
  }

  #recordRange() {
    return generationPart(this.#generation, "r");
  }

  async *#records(
    entries: AsyncIterable<readonly (readonly [Buffer, Buffer])[]>,
  ): AsyncIterable<readonly StateRecord[]> {
    for await (const batch of entries) {
      yield batch.map(([key, value]): StateRecord => {
        const payload = openRecord(key, value);
        const parsed = parseRecordKey(key);
        if (parsed === undefined) throw corrupt(`the state has the damaged key ${key.toString("hex")}`);
        return { ...parsed, value: new Uint8Array(payload) };
      });
    }
  }

  write(changes: readonly StateChange[], applied: AppliedState): Promise<void> {
    return this.#writes.run(async () => {
      assert(applied.index >= this.#applied.index, `the state at ${this.#applied.index} cannot go back`);
      const sequence = this.#sequence + 1;
      const ops = this.#changeOps(changes);
      const mark = journalKey(this.#generation, sequence);
      ops.push(sealedPut(generationKey(this.#generation, "a"), { applied: plainApplied(applied), sequence }));
      ops.push({ type: "put", key: mark, value: sealRecord(mark, markPayload) });
      await this.#handle.write(ops, { sync: false });
      this.#sequence = sequence;
      this.#applied = applied;
      if (sequence - this.#flushedSequence >= unflushedWritesMax) await this.#flush();
    });
  }

  #changeOps(changes: readonly StateChange[], generation = this.#generation): LevelOp[] {
    const keysOf = new Map<string, (key: Uint8Array) => Buffer>();
    return changes.map(({ table, key, value }): LevelOp => {
      let keyOf = keysOf.get(table);
      if (keyOf === undefined) {
        keyOf = tableKeys(generation, checkedTable(table));
        keysOf.set(table, keyOf);
      }
      const stored = keyOf(key);
      return value === undefined
        ? { type: "del", key: stored }
        : { type: "put", key: stored, value: sealRecord(stored, value) };
    });
  }

  replaceAll(applied: AppliedState, batches: AsyncIterable<readonly StateRecord[]>): Promise<void> {
    return this.#writes.run(async () => {
      const generation = this.#generation + 1;
      // An earlier attempt may have failed half way.
      for (const range of generationsExcept(this.#generation)) await this.#handle.deleteRange(range);
      for await (const batch of batches) {
        const ops = this.#changeOps(batch, generation);
        await this.#handle.write(ops, { sync: false });
      }
      await this.#changeOver(applied);
    });
  }

  snapshot(): Promise<StateSnapshot> {
    return this.#writes.run(async () => {
      const frozen = this.#handle.freeze(this.#recordRange());
      let closed: Promise<void> | undefined;
      const close = () => {
        closed ??= frozen.close();
        return closed;
      };
      return { applied: this.#applied, records: this.#frozenRecords(frozen.entries(), close), close };
    });
  }

  async *#frozenRecords(
    entries: AsyncIterable<readonly (readonly [Buffer, Buffer])[]>,
    close: () => Promise<void>,
    generation = this.#generation,
  ): AsyncIterable<readonly StateRecord[]> {
    try {
      yield* this.#records(entries);
    } catch (error) {
      if (errorCodeOf(error) === "STORAGE_CORRUPT") this.#noteDamage(generation);
      throw error;
    } finally {
      await close();
    }
  }

  flush(): Promise<void> {
    return this.#writes.run(() => this.#flush());
  }

  async #flush(): Promise<void> {
    if (this.#sequence === this.#flushedSequence) return;
    const sequence = this.#sequence;
    await this.#handle.write([sealedPut(generationKey(this.#generation, "s"), { sequence })], { sync: false });
    const flushed: FlushRecord = { sequence, sealed: true };
    const ops: LevelOp[] = [sealedPut(generationKey(this.#generation, "f"), flushed)];
    for (let number = this.#flushedSequence + 1; number <= sequence; number++) {
      ops.push({ type: "del", key: journalKey(this.#generation, number) });
    }
    await this.#handle.flush(ops);
    this.#flushedSequence = sequence;
  }

  async close(): Promise<void> {
    await this.#writes.idle();
    await this.#handle.close();
  }
}

function sealedPut(key: Buffer, value: unknown): LevelOp {
  return { type: "put", key, value: sealRecord(key, pack(value)) };
}

function checkedTable(table: string): string {
  const length = Buffer.byteLength(table, "utf8");
  if (length >= 1 && length <= tableBytesMax) return table;
  throw new BlixardError("INVALID_ARGUMENT", `a table name has 1 to ${tableBytesMax} bytes, not ${length}`);
}
