/**
 * The Raft log on LevelDB. Each append is one block record and, with it in the same synced batch, the hard state.
 * Blocks are read in the order of their first index, and a block replaces what earlier ones hold at and after it.
 */
import { assert } from "@blixard/common";
import type { LogContents, LogStore, LogWrite } from "@blixard/raft";
import { asLogIndex, asTerm, type Entry, type HardState, type LogIndex, noNode, type Term } from "@blixard/raft/core";
import { decodeEntryBlock, encodeEntryBlock } from "../records/entry-block.ts";
import { pack, unpack } from "../records/packed.ts";
import { corrupt, openRecord, sealRecord } from "../records/record.ts";
import { allKeys, baseKey, blockKey, blockKeyIndex, hardStateKey, markerKey, startsKey } from "./keys.ts";
import type { LevelHandle, LevelOp } from "./level-handle.ts";
import type { Vote, VoteFile } from "./vote-file.ts";

interface Base {
  readonly index: LogIndex;
  readonly term: Term;
  /** The chain of the entry at the base; see entry-block.ts. */
  readonly chain: number;
}

interface Block {
  readonly first: LogIndex;
  readonly last: LogIndex;
}

const noBase: Base = { index: asLogIndex(0), term: asTerm(0), chain: 0 };
const noHardState: HardState = { term: asTerm(0), vote: noNode, commit: asLogIndex(0) };
const deletesPerBatchMax = 1_000;

export class LevelLogStore implements LogStore {
  readonly #handle: LevelHandle;
  readonly #voteFile: VoteFile;
  #base: Base = noBase;
  /** The chain after each retained entry, from `base.index + 1`. */
  #chains: number[] = [];
  #blocks: Block[] = [];
  #vote: { readonly term: Term; readonly vote: HardState["vote"] } = noHardState;
  #failure: unknown;

  /** `voteFile` is the second copy of term and vote, on other blocks of the disk. */
  constructor(handle: LevelHandle, voteFile: VoteFile) {
    this.#handle = handle;
    this.#voteFile = voteFile;
  }

  async load(): Promise<LogContents> {
    const blocks: { readonly first: LogIndex; readonly payload: Buffer }[] = [];
    let stored: HardState | undefined;
    let damage: unknown;
    for await (const batch of this.#handle.entries(allKeys)) {
      for (const [key, value] of batch) {
        if (key.equals(markerKey) || key.equals(startsKey)) continue;
        const first = blockKeyIndex(key);
        if (key.equals(hardStateKey)) {
          try {
            stored = unpack<HardState>(openRecord(key, value), "the hard state");
          } catch (error) {
            damage = error;
          }
          continue;
        }
        const payload = openRecord(key, value);
        if (first !== undefined) blocks.push({ first, payload });
        else if (key.equals(baseKey)) this.#base = unpack<Base>(payload, "the base of the log");
        else throw corrupt(`the log has the unknown key ${key.toString("hex")}`);
      }
    }
    const entries = this.#join(blocks);
    const copy = await this.#voteFile.load();
    if (damage !== undefined && copy === undefined) throw damage;
    const hardState = newerVote(stored ?? noHardState, copy);
    this.#vote = hardState;
    const { index, term } = this.#base;
    return { hardState, base: { index, term }, entries };
  }

  /** Joins the blocks to one contiguous run behind the base, and checks the chain through all of it. */
  #join(blocks: readonly { readonly first: LogIndex; readonly payload: Buffer }[]): Entry[] {
    const entries: Entry[] = [];
    for (const [position, { first, payload }] of blocks.entries()) {
      const block = decodeEntryBlock(payload, first);
      const replacedFrom = blocks[position + 1]?.first ?? Number.MAX_SAFE_INTEGER;
      const last = asLogIndex(Math.min(first + block.entries.length, replacedFrom) - 1);
      this.#blocks.push({ first, last });
      // A compaction stores the base first and deletes blocks later: those that are left over mean nothing.
      if (last <= this.#base.index) continue;
      const next = this.#base.index + entries.length + 1;
      if (first > next) throw corrupt(`the log has no entries ${next} to ${first - 1}`);
      const skip = Math.max(0, this.#base.index + 1 - first);
      const before = skip > 0 ? block.chains[skip - 1] : block.chainBefore;
      if (before !== (this.#chains.at(-1) ?? this.#base.chain)) {
        throw corrupt(`the entry at ${first + skip} does not follow the entry before it`);
      }
      for (const entry of block.entries.slice(skip, last - first + 1)) entries.push(entry);
      for (const chain of block.chains.slice(skip, last - first + 1)) this.#chains.push(chain);
    }
    return entries;
  }

  async append(write: LogWrite): Promise<void> {
    const ops: LevelOp[] = [];
    const first = write.entries[0];
    if (first !== undefined) this.#appendEntries(first.index, write.entries, ops);
    const { hardState } = write;
    if (hardState !== undefined) ops.push(hardStateOp(hardState));
    if (ops.length === 0) return;
    await this.#write(ops, hardState);
  }

  #appendEntries(first: LogIndex, entries: readonly Entry[], ops: LevelOp[]): void {
    const keep = first - this.#base.index - 1;
    assert(keep >= 0 && keep <= this.#chains.length, `entry ${first} is not contiguous with the log`);
    this.#chains.length = keep;
    const { payload, chains } = encodeEntryBlock(entries, this.#chains[keep - 1] ?? this.#base.chain);
    for (const chain of chains) this.#chains.push(chain);
    for (let last = this.#blocks.at(-1); last !== undefined && last.first >= first; last = this.#blocks.at(-1)) {
      ops.push({ type: "del", key: blockKey(last.first) });
      this.#blocks.pop();
    }
    const previous = this.#blocks.pop();
    if (previous !== undefined)
      this.#blocks.push({ ...previous, last: asLogIndex(Math.min(previous.last, first - 1)) });
    const key = blockKey(first);
    ops.push({ type: "put", key, value: sealRecord(key, payload) });
    this.#blocks.push({ first, last: asLogIndex(first + entries.length - 1) });
  }

  async compact(base: { readonly index: LogIndex; readonly term: Term }): Promise<void> {
    const count = base.index - this.#base.index;
    if (count <= 0) return;
    const chain = this.#chains[count - 1];
    assert(chain !== undefined, `cannot compact to ${base.index}, which is behind the end of the log`);
    this.#chains.splice(0, count);
    this.#base = { index: base.index, term: base.term, chain };
    const kept = this.#blocks.findIndex(({ last }) => last > base.index);
    const dropped = this.#blocks.splice(0, kept < 0 ? this.#blocks.length : kept);
    // Synced like every write here, so that only the last record of a LevelDB log file can be a torn one.
    await this.#write([baseOp(this.#base)], undefined);
    for (let at = 0; at < dropped.length; at += deletesPerBatchMax) {
      const part = dropped.slice(at, at + deletesPerBatchMax);
      const ops = part.map(({ first }): LevelOp => ({ type: "del", key: blockKey(first) }));
      await this.#write(ops, undefined);
    }
  }

  async reset(base: { readonly index: LogIndex; readonly term: Term }, hardState: HardState): Promise<void> {
    const ops = this.#blocks.map(({ first }): LevelOp => ({ type: "del", key: blockKey(first) }));
    this.#blocks = [];
    this.#chains = [];
    this.#base = { index: base.index, term: base.term, chain: 0 };
    ops.push(baseOp(this.#base), hardStateOp(hardState));
    await this.#write(ops, hardState);
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

function hardStateOp({ term, vote, commit }: HardState): LevelOp {
  return { type: "put", key: hardStateKey, value: sealRecord(hardStateKey, pack({ term, vote, commit })) };
}

function baseOp({ index, term, chain }: Base): LevelOp {
  return { type: "put", key: baseKey, value: sealRecord(baseKey, pack({ index, term, chain })) };
}
