/**
 * The Raft log on LevelDB. Each append is one block record and, with it in the same synced batch, the hard state.
 * Blocks are read in the order of their first index, and a block replaces what earlier ones hold at and after it.
 */
import { assert, type Logger, messageOf } from "@blixard/common";
import type { LogContents, LogLoadOptions, LogStore, LogWrite } from "@blixard/raft";
import { asLogIndex, asTerm, type Entry, type HardState, type LogIndex, noNode, type Term } from "@blixard/raft/core";
import { decodeEntryBlock, encodeEntryBlock } from "../records/entry-block.ts";
import { type LogEnd, type LogHead, packHead, unpackHead } from "../records/log-head.ts";
import { pack, unpack } from "../records/packed.ts";
import { corrupt, openRecord, sealInPlace, sealRecord } from "../records/record.ts";
import type { DamageLedger } from "./damage-ledger.ts";
import { type HeldBlock, HeldBlocks } from "./held-blocks.ts";
import {
  allKeys,
  baseKey,
  blockKey,
  blockKeyIndex,
  blockKeys,
  hardStateKey,
  markerKey,
  otherLogKeys,
  startsKey,
} from "./keys.ts";
import type { LevelHandle, LevelOp } from "./level-handle.ts";
import { type Assembly, assembleLog, baseIn, type LogBase, type StoredBlock, termIn } from "./log-assembly.ts";
import { inLog } from "./log-damage.ts";
import { coverBySnapshot, fillHoles, type RepairedLog } from "./log-repair.ts";
import type { WriteSeal } from "./log-seal.ts";
import type { Vote, VoteFile } from "./vote-file.ts";

export interface LevelLogStoreDeps {
  readonly handle: LevelHandle;
  /** The second copy of term and vote, on other blocks of the disk. */
  readonly voteFile: VoteFile;
  readonly seal: WriteSeal;
  /** Number of the last write with a head. */
  readonly writes: number;
  readonly logger: Logger;
  readonly damage: DamageLedger;
}

/** What was read of the blocks, from an entry on that is known. */
interface ReadBlocks {
  readonly base: LogBase;
  readonly blocks: readonly StoredBlock[];
  readonly assembly: Assembly;
}

const noBase: LogBase = { index: asLogIndex(0), term: asTerm(0), chain: 0 };
const noHardState: HardState = { term: asTerm(0), vote: noNode, commit: asLogIndex(0) };
const deletesPerBatchMax = 1_000;

export class LevelLogStore implements LogStore {
  readonly #handle: LevelHandle;
  readonly #voteFile: VoteFile;
  readonly #seal: WriteSeal;
  readonly #logger: Logger;
  readonly #damage: DamageLedger;
  #blocks = new HeldBlocks(noBase);
  /** Blocks before this key were passed over at the start and are not in `#blocks`; the next compaction deletes them. */
  #passedOver: LogIndex | undefined;
  #hardState: HardState = noHardState;
  #vote: { readonly term: Term; readonly vote: HardState["vote"] } = noHardState;
  #failure: unknown;
  #writes: number;
  /** Everything up to here is on the disk as it is in memory. */
  #durableLast = asLogIndex(0);

  constructor({ handle, voteFile, seal, writes, logger, damage }: LevelLogStoreDeps) {
    this.#handle = handle;
    this.#voteFile = voteFile;
    this.#seal = seal;
    this.#writes = writes;
    this.#logger = logger;
    this.#damage = damage;
  }

  load(options: LogLoadOptions = {}): Promise<LogContents> {
    return inLog(() => this.#load(options));
  }

  async #load(options: LogLoadOptions): Promise<LogContents> {
    const { head, headDamage } = await this.#readHead();
    const copy = await this.#voteFile.load();
    if (headDamage !== undefined && copy === undefined) throw headDamage;
    const hardState = newerVote(head?.hardState ?? noHardState, copy);
    this.#hardState = hardState;
    this.#vote = hardState;
    const read = (await this.#behindSnapshot(head?.end, options)) ?? (await this.#everything(head?.end));
    const whole = await this.#whole(read, options);
    const { base, entries } = whole;
    this.#blocks = HeldBlocks.of(base, whole);
    this.#durableLast = this.#blocks.end.last;
    return { hardState, base: { index: base.index, term: base.term }, entries };
  }

  /** Everything but the blocks. */
  async #readHead() {
    let head: LogHead | undefined;
    let headDamage: unknown;
    for (const range of otherLogKeys) {
      for await (const batch of this.#handle.entries(range)) {
        for (const [key, value] of batch) {
          if (key.equals(baseKey)) {
            this.#blocks = new HeldBlocks(unpack<LogBase>(openRecord(key, value), "the base of the log"));
          } else if (key.equals(hardStateKey)) {
            try {
              head = unpackHead(openRecord(key, value));
            } catch (error) {
              headDamage = error;
            }
          } else if (!key.equals(markerKey) && !key.equals(startsKey)) throw unknownKey(key);
        }
      }
    }
    return { head, headDamage };
  }

  /**
   * What a snapshot stands for, and nobody wants any more, stays where it is: neither read nor kept in memory. Nothing
   * is forgotten on the disk. The chain that begins at the first entry that is read has to lead to the end of the log,
   * so what is read is proved as it would be by all of the log. Undefined when all of it has to be read.
   */
  async #behindSnapshot(end: LogEnd | undefined, options: LogLoadOptions): Promise<ReadBlocks | undefined> {
    const { snapshot, trailingEntries } = options;
    if (end === undefined || snapshot === undefined || trailingEntries === undefined) return undefined;
    const index = asLogIndex(Math.max(0, snapshot.index - trailingEntries));
    if (index <= this.#blocks.base.index) return undefined;
    const around = await this.#handle.last({ gte: blockKeys.gte, lt: blockKey(index + 1) });
    const first = around === undefined ? undefined : blockKeyIndex(around[0]);
    if (around === undefined || first === undefined) return undefined;
    const base = baseIn({ first, contents: this.#readBlock(...around, first) }, index);
    if (base === undefined) return undefined;
    const blocks = await this.#readBlocks(first);
    const assembly = assembleLog(base, blocks, end);
    // A log that ends before the snapshot, or holds other entries there, is for the caller to judge.
    if (termIn(base, assembly, snapshot.index) !== snapshot.term) return undefined;
    this.#passedOver = first;
    return { base, blocks, assembly };
  }

  async #everything(end: LogEnd | undefined): Promise<ReadBlocks> {
    const blocks = await this.#readBlocks(asLogIndex(0));
    return { base: this.#blocks.base, blocks, assembly: assembleLog(this.#blocks.base, blocks, end) };
  }

  async #readBlocks(from: LogIndex): Promise<StoredBlock[]> {
    const blocks: StoredBlock[] = [];
    for await (const batch of this.#handle.entries({ gte: blockKey(from), lt: blockKeys.lt })) {
      for (const [key, value] of batch) {
        const first = blockKeyIndex(key);
        if (first === undefined) throw unknownKey(key);
        blocks.push({ first, contents: this.#readBlock(key, value, first) });
      }
    }
    return blocks;
  }

  /** Undefined for a damaged block: the next good one, or the head, says what was in it. */
  #readBlock(key: Buffer, value: Buffer, first: LogIndex): StoredBlock["contents"] {
    try {
      return decodeEntryBlock(openRecord(key, value), first);
    } catch (error) {
      this.#logger.log("error", "a block of the log is damaged", { first, reason: messageOf(error) });
      return undefined;
    }
  }

  /** Closes the holes, if there are any, and stores what they held in one synced batch. @throws STORAGE_CORRUPT */
  async #whole({ base, blocks, assembly }: ReadBlocks, options: LogLoadOptions) {
    const { holes, runs, spans } = assembly;
    const [run] = runs;
    const damaged = blocks.filter(({ contents }) => contents === undefined);
    if (holes.length === 0 && damaged.length === 0 && run !== undefined) {
      // Damaged files may have held nothing that still counts, or only what counts no more from here on.
      if (!this.#damage.isLogRepaired && base !== this.#blocks.base) await this.#write([baseOp(base)], undefined);
      this.#damage.repairedLog();
      return { ...run, base, spans: [...spans] };
    }
    this.#damage.foundInLog(Math.max(holes.length, damaged.length));
    const { logger } = { logger: this.#logger };
    const repaired: RepairedLog =
      coverBySnapshot(base, assembly, options.snapshot) ??
      (await fillHoles(base, assembly, { ...options, logger, damage: this.#damage }));
    const ops = damaged.map(({ first }): LevelOp => ({ type: "del", key: blockKey(first) }));
    if (repaired.base !== this.#blocks.base) ops.push(baseOp(repaired.base));
    for (const { first, record } of repaired.blocks) {
      const key = blockKey(first);
      ops.push({ type: "put", key, value: sealInPlace(key, record) });
    }
    await this.#write(ops, undefined);
    this.#damage.repairedLog();
    logger.log("warn", "the damaged log is whole again", {
      holes: holes.map(({ first, last }) => `${first} to ${last}`),
      by: repaired.by,
    });
    return repaired;
  }

  async append(write: LogWrite): Promise<void> {
    const ops: LevelOp[] = [];
    const first = write.entries[0];
    if (first !== undefined) this.#appendEntries(first.index, write.entries, ops);
    const { hardState } = write;
    if (hardState !== undefined) this.#hardState = hardState;
    else if (first === undefined) return;
    await this.#writeWithHead(ops, hardState);
  }

  async #writeWithHead(ops: LevelOp[], hardState: HardState | undefined): Promise<void> {
    this.#writes++;
    const number = this.#writes;
    const { last } = this.#blocks.end;
    ops.push(this.#headOp());
    await this.#write(ops, hardState);
    this.#durableLast = last;
    this.#seal.note(number);
  }

  /** The head for what is in memory now: it goes into the batch that makes this the log. */
  #headOp(): LevelOp {
    return {
      type: "put",
      key: hardStateKey,
      value: sealRecord(hardStateKey, packHead(this.#hardState, this.#blocks.end, this.#writes)),
    };
  }

  #appendEntries(first: LogIndex, entries: readonly Entry[], ops: LevelOp[]): void {
    this.#durableLast = asLogIndex(Math.min(this.#durableLast, first - 1));
    for (const dropped of this.#blocks.cutAt(first)) ops.push({ type: "del", key: blockKey(dropped) });
    const { record, chainAfter } = encodeEntryBlock(entries, this.#blocks.end.chain);
    this.#blocks.push(first, entries, chainAfter);
    const key = blockKey(first);
    ops.push({ type: "put", key, value: sealInPlace(key, record) });
  }

  /**
   * Reads every block and compares it with what is in memory; writes those anew that are damaged. Yields the bytes of
   * each. @throws what the database throws when it cannot be read at all, STOPPED when it was closed
   */
  async *scrub(): AsyncIterable<number> {
    for (const first of this.#blocks.firsts) {
      const held = this.#blocks.at(first);
      if (held === undefined || held.last > this.#durableLast) continue;
      const value = await this.#handle.get(blockKey(first));
      yield value?.length ?? 0;
      // What was replaced or compacted meanwhile is not what was read.
      if (this.#blocks.at(first) !== held || held.last > this.#durableLast) continue;
      if (value === undefined || !this.#holds(value, held)) await this.#rewrite(held);
    }
  }

  #holds(value: Buffer, { first, chainAfter, last }: HeldBlock): boolean {
    const contents = this.#readBlock(blockKey(first), value, first);
    return contents?.chains[last - first] === chainAfter;
  }

  /** Begins behind the base, where that is inside of the block: what is before is in memory no more, and means nothing. */
  async #rewrite({ first, last, entries, chainBefore }: HeldBlock): Promise<void> {
    this.#damage.found(1);
    const { record } = encodeEntryBlock(entries, chainBefore);
    const from = asLogIndex(last - entries.length + 1);
    const ops: LevelOp[] = from === first ? [] : [{ type: "del", key: blockKey(first) }];
    ops.push({ type: "put", key: blockKey(from), value: sealInPlace(blockKey(from), record) });
    if (from !== first) this.#blocks.rename(first, from);
    await this.#write(ops, undefined);
    // The next start would find the damaged file.
    await this.#handle.compact(allKeys);
    this.#damage.repaired(1);
    this.#logger.log("warn", "a damaged block of the log was written anew", { first: from, last });
  }

  async compact(base: { readonly index: LogIndex; readonly term: Term }): Promise<void> {
    if (base.index <= this.#blocks.base.index) return;
    const dropped = this.#blocks.moveBase(base);
    // Synced like every write here, so that only the last record of a LevelDB log file can be a torn one.
    await this.#write([baseOp(this.#blocks.base)], undefined);
    for (let at = 0; at < dropped.length; at += deletesPerBatchMax) {
      const part = dropped.slice(at, at + deletesPerBatchMax);
      const ops = part.map((first): LevelOp => ({ type: "del", key: blockKey(first) }));
      await this.#write(ops, undefined);
    }
    await this.#deletePassedOver();
  }

  /** Below the base, which is durable: a crash in the middle leaves what means nothing. */
  async #deletePassedOver(): Promise<void> {
    const before = this.#passedOver;
    if (before === undefined) return;
    this.#passedOver = undefined;
    for await (const batch of this.#handle.entries({ gte: blockKeys.gte, lt: blockKey(before) })) {
      const ops = batch.map(([key]): LevelOp => ({ type: "del", key }));
      await this.#write(ops, undefined);
    }
  }

  async reset(base: { readonly index: LogIndex; readonly term: Term }, hardState: HardState): Promise<void> {
    assert(
      this.#passedOver === undefined || base.index >= this.#blocks.base.index,
      "a snapshot stands for what is before",
    );
    const ops = this.#blocks.firsts.map((first): LevelOp => ({ type: "del", key: blockKey(first) }));
    this.#blocks = new HeldBlocks({ index: base.index, term: base.term, chain: 0 });
    this.#hardState = hardState;
    ops.push(baseOp(this.#blocks.base));
    await this.#writeWithHead(ops, hardState);
    await this.#deletePassedOver();
  }

  /** A failure of either copy is final for both: the caller was told that the store stops. */
  async #write(ops: readonly LevelOp[], hardState: HardState | undefined): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await this.#writeBoth(ops, hardState);
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  async #writeBoth(ops: readonly LevelOp[], hardState: HardState | undefined): Promise<void> {
    const written = this.#handle.write(ops, { sync: true });
    if (hardState === undefined || (hardState.term === this.#vote.term && hardState.vote === this.#vote.vote)) {
      await written;
      return;
    }
    this.#vote = { term: hardState.term, vote: hardState.vote };
    const results = await Promise.allSettled([written, this.#voteFile.save(this.#vote)]);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async close(): Promise<void> {
    await this.#voteFile.close();
    await this.#handle.close();
    await this.#seal.close();
  }
}

/**
 * A copy that is ahead of the record was written when the batch was not: the vote was never sent, and keeping it is
 * always safe.
 */
function newerVote(hardState: HardState, copy: Vote | undefined): HardState {
  if (copy === undefined || copy.term < hardState.term) return hardState;
  if (copy.term > hardState.term || hardState.vote === noNode) return { ...hardState, ...copy };
  return hardState;
}

function baseOp({ index, term, chain }: LogBase): LevelOp {
  return { type: "put", key: baseKey, value: sealRecord(baseKey, pack({ index, term, chain })) };
}

function unknownKey(key: Buffer): Error {
  return corrupt(`the log has the unknown key ${key.toString("hex")}`);
}
