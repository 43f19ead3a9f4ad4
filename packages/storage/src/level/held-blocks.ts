/**
 * The blocks of the log that count, with the entries that each of them stands for and the chain around them. The chain
 * inside a block is seldom asked for, so it is worked out again then.
 *
 *     chain of the base | block | chain | block | chain: the end of the log
 */
import { assert } from "@blixard/common";
import { asLogIndex, type Entry, type LogIndex } from "@blixard/raft/core";
import { chainBehind } from "../records/entry-block.ts";
import type { LogEnd } from "../records/log-head.ts";
import type { BlockSpan, LogBase } from "./log-assembly.ts";

export interface HeldBlock {
  /** The index in its key; the entries below the base are not held. */
  readonly first: LogIndex;
  readonly last: LogIndex;
  readonly entries: readonly Entry[];
  readonly chainBefore: number;
  readonly chainAfter: number;
}

export class HeldBlocks {
  #base: LogBase;
  #blocks: HeldBlock[] = [];

  constructor(base: LogBase) {
    this.#base = base;
  }

  /** What was loaded: `spans` in their order, the entries from `base.index + 1` on, and the chain after each. */
  static of(base: LogBase, { spans, entries, chains }: LoadedBlocks): HeldBlocks {
    const held = new HeldBlocks(base);
    const chainAt = (index: number) => chains[index - base.index - 1] ?? base.chain;
    for (const { first, last } of spans) {
      const from = Math.max(first, base.index + 1);
      const part = entries.slice(from - base.index - 1, Math.max(0, last - base.index));
      held.#blocks.push({ first, last, entries: part, chainBefore: chainAt(from - 1), chainAfter: chainAt(last) });
    }
    return held;
  }

  get base(): LogBase {
    return this.#base;
  }

  get end(): LogEnd {
    const block = this.#blocks.at(-1);
    if (block === undefined || block.last <= this.#base.index) {
      return { last: this.#base.index, chain: this.#base.chain };
    }
    return { last: block.last, chain: block.chainAfter };
  }

  /** The block under this key, as it is in memory; undefined when it is not held. */
  at(first: LogIndex): HeldBlock | undefined {
    return this.#blocks.find((block) => block.first === first);
  }

  /** The block is stored under another key from now on. */
  rename(first: LogIndex, to: LogIndex): void {
    const at = this.#blocks.findIndex((block) => block.first === first);
    const block = this.#blocks[at];
    if (block !== undefined) this.#blocks[at] = { ...block, first: to };
  }

  /** The keys of all blocks. */
  get firsts(): readonly LogIndex[] {
    return this.#blocks.map(({ first }) => first);
  }

  /** Lets go of everything at and after `first`. Returns the keys of the blocks of which nothing is left. */
  cutAt(first: LogIndex): readonly LogIndex[] {
    const inLog = first > this.#base.index && first <= this.end.last + 1;
    assert(inLog, `entry ${first} is not contiguous with the log`);
    const dropped: LogIndex[] = [];
    for (let block = this.#blocks.at(-1); block !== undefined && block.first >= first; block = this.#blocks.at(-1)) {
      dropped.push(block.first);
      this.#blocks.pop();
    }
    const block = this.#blocks.at(-1);
    if (block !== undefined && block.last >= first) {
      const entries = block.entries.slice(0, block.entries.length - (block.last - first + 1));
      const chainAfter = chainBehind(entries, block.chainBefore);
      this.#blocks[this.#blocks.length - 1] = { ...block, last: asLogIndex(first - 1), entries, chainAfter };
    }
    return dropped;
  }

  /** A block behind the end, and the chain after it. */
  push(first: LogIndex, entries: readonly Entry[], chainAfter: number): void {
    const last = asLogIndex(first + entries.length - 1);
    this.#blocks.push({ first, last, entries, chainBefore: this.end.chain, chainAfter });
  }

  /** Moves the base up to an entry that is held. Returns the keys of the blocks of which nothing is left. */
  moveBase({ index, term }: Omit<LogBase, "chain">): readonly LogIndex[] {
    assert(index <= this.end.last, `cannot compact to ${index}, which is behind the end of the log`);
    const kept = this.#blocks.findIndex(({ last }) => last > index);
    const dropped = this.#blocks.splice(0, kept < 0 ? this.#blocks.length : kept);
    const block = this.#blocks[0];
    let chain = dropped.at(-1)?.chainAfter ?? this.#base.chain;
    if (block !== undefined && block.last - block.entries.length < index) {
      const below = index - (block.last - block.entries.length);
      chain = chainBehind(block.entries.slice(0, below), block.chainBefore);
      this.#blocks[0] = { ...block, entries: block.entries.slice(below), chainBefore: chain };
    }
    this.#base = { index, term, chain };
    return dropped.map(({ first }) => first);
  }
}

export interface LoadedBlocks {
  readonly spans: readonly BlockSpan[];
  readonly entries: readonly Entry[];
  readonly chains: readonly number[];
}
