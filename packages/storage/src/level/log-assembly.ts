/**
 * Joins the blocks of the log to runs of entries, and finds the holes between them. The chain (see entry-block.ts) ties
 * everything together: a hole may be filled only with entries that lead from the chain before it to the chain behind it.
 *
 *     base | run | hole | run | hole | run | end (see log-head.ts)
 */
import { asLogIndex, type Entry, type LogIndex, type Term } from "@blixard/raft/core";
import { type DecodedBlock, decodeEntryBlock, encodeEntryBlock } from "../records/entry-block.ts";
import type { LogEnd } from "../records/log-head.ts";
import { corrupt, recordHeaderBytes } from "../records/record.ts";

export interface LogBase {
  readonly index: LogIndex;
  readonly term: Term;
  /** The chain of the entry at the base. */
  readonly chain: number;
}

/** A block under its key; without contents when its record is damaged. */
export interface StoredBlock {
  readonly first: LogIndex;
  readonly contents: DecodedBlock | undefined;
}

/** Indexes of a block that count; later blocks may have replaced some. */
export interface BlockSpan {
  readonly first: LogIndex;
  readonly last: LogIndex;
}

/** Entries in a row, and the chain after each of them. */
export interface Run {
  readonly entries: Entry[];
  readonly chains: number[];
}

/** Entries that are missing. */
export interface Hole extends BlockSpan {
  /** The chain after the last of them. */
  readonly chainAfter: number;
}

export interface Assembly {
  /** One more than there are holes; each hole comes after the run with its number. */
  readonly runs: readonly Run[];
  readonly holes: readonly Hole[];
  readonly spans: readonly BlockSpan[];
}

/** @throws STORAGE_CORRUPT when blocks contradict each other, or when it is not known what is missing */
export function assembleLog(base: LogBase, blocks: readonly StoredBlock[], end: LogEnd | undefined): Assembly {
  const runs: Run[] = [{ entries: [], chains: [] }];
  const holes: Hole[] = [];
  const spans: BlockSpan[] = [];
  let { index: reached, chain } = base as { index: number; chain: number };
  const openHole = (last: number, chainAfter: number) => {
    // An older release did not write where the log ends: whether this is the newest log cannot be told.
    if (end === undefined) throw corrupt(`the log has no entries ${reached + 1} to ${last}`);
    holes.push({ first: asLogIndex(reached + 1), last: asLogIndex(last), chainAfter });
    runs.push({ entries: [], chains: [] });
    reached = last;
    chain = chainAfter;
  };
  for (const [position, { first, contents }] of blocks.entries()) {
    if (contents === undefined) continue;
    const replacedFrom = blocks[position + 1]?.first ?? Number.MAX_SAFE_INTEGER;
    const last = asLogIndex(Math.min(first + contents.entries.length, replacedFrom) - 1);
    spans.push({ first, last });
    // A compaction stores the base first and deletes blocks later: those that are left over mean nothing.
    if (last <= base.index) continue;
    const skip = Math.max(0, base.index + 1 - first);
    const before = skip > 0 ? contents.chains[skip - 1] : contents.chainBefore;
    if (first > reached + 1) openHole(first - 1, contents.chainBefore);
    if (before !== chain) throw corrupt(`the entry at ${first + skip} does not follow the entry before it`);
    const run = runs.at(-1) as Run;
    const count = last - first + 1;
    for (const entry of contents.entries.slice(skip, count)) run.entries.push(entry);
    for (const after of contents.chains.slice(skip, count)) run.chains.push(after);
    reached = last;
    chain = run.chains.at(-1) ?? chain;
  }
  if (end === undefined) {
    const damaged = blocks.find(({ contents }) => contents === undefined);
    if (damaged !== undefined) throw corrupt(`the log block at ${damaged.first} is damaged`);
    return { runs, holes, spans };
  }
  if (end.last > reached) openHole(end.last, end.chain);
  if (end.last !== reached || end.chain !== chain) {
    throw corrupt(`the log ends at ${reached}, but not as it was written up to ${end.last}`);
  }
  return { runs, holes, spans };
}

/** What the entry at `index` of a good block is as a base; undefined when it is not in there. */
export function baseIn({ first, contents }: StoredBlock, index: LogIndex): LogBase | undefined {
  const at = index - first;
  const [entry, chain] = [contents?.entries[at], contents?.chains[at]];
  return entry === undefined || chain === undefined ? undefined : { index, term: entry.term, chain };
}

/** The term at `index` when nothing is missing up to there. */
export function termIn(base: LogBase, { runs }: Assembly, index: LogIndex): Term | undefined {
  return index === base.index ? base.term : runs[0]?.entries[index - base.index - 1]?.term;
}

/** The chains after each of `entries` when they fill the hole exactly; undefined when they do not. */
export function fitHole(hole: Hole, entries: readonly Entry[], chainBefore: number): readonly number[] | undefined {
  if (entries.length !== hole.last - hole.first + 1) return undefined;
  if (entries.some((entry, at) => entry.index !== hole.first + at)) return undefined;
  const { record, chainAfter } = encodeEntryBlock(entries, chainBefore);
  if (chainAfter !== hole.chainAfter) return undefined;
  return decodeEntryBlock(record.subarray(recordHeaderBytes), hole.first).chains;
}
