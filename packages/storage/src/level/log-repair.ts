/**
 * Closes the holes of a damaged log. Nothing is guessed: a hole takes only entries whose chain ends in the value that
 * was stored behind it, so what comes out is what this node had acknowledged, wherever it was fetched from. That makes
 * it safe to do in place, before Raft starts: the node forgets none of its promises.
 */
import { BlixardError, type Logger } from "@blixard/common";
import type { LogLoadOptions } from "@blixard/raft";
import { asLogIndex, type Entry, type LogIndex } from "@blixard/raft/core";
import { encodeEntryBlock } from "../records/entry-block.ts";
import type { DamageLedger } from "./damage-ledger.ts";
import { type Assembly, type BlockSpan, fitHole, type Hole, type LogBase } from "./log-assembly.ts";

export interface RepairedLog {
  readonly base: LogBase;
  readonly entries: Entry[];
  readonly chains: number[];
  readonly spans: BlockSpan[];
  /** To be stored. */
  readonly blocks: readonly { readonly first: LogIndex; readonly record: Buffer }[];
  /** Who helped. */
  readonly by: readonly string[];
}

/** Bytes of one stored block, beyond which the next one begins. */
const blockBytesMax = 1024 * 1024;

/**
 * Gives the damaged part up when a snapshot stands for it, as a compaction would: only what is at or below its index
 * is forgotten, and the chain of the base comes from the good entries behind the last hole. Undefined when that is not so.
 */
export function coverBySnapshot(
  base: LogBase,
  { holes, runs, spans }: Assembly,
  snapshot: LogLoadOptions["snapshot"],
): RepairedLog | undefined {
  const hole = holes.at(-1);
  const run = runs.at(-1);
  if (hole === undefined || run === undefined) return unchanged(base, runs[0], spans);
  const count = (snapshot?.index ?? 0) - hole.last;
  if (snapshot === undefined || count < 0 || count > run.entries.length) return undefined;
  if (count > 0 && run.entries[count - 1]?.term !== snapshot.term) return undefined;
  const chain = count > 0 ? run.chains[count - 1] : hole.chainAfter;
  return {
    base: { index: snapshot.index, term: snapshot.term, chain: chain ?? hole.chainAfter },
    entries: run.entries.slice(count),
    chains: run.chains.slice(count),
    // Blocks below the base stay listed, so that the next compaction deletes them.
    spans: [...spans],
    blocks: [],
    by: [`the snapshot at ${snapshot.index}`],
  };
}

/** Only records that mean nothing any more were damaged. */
function unchanged(base: LogBase, run: Assembly["runs"][number] | undefined, spans: readonly BlockSpan[]): RepairedLog {
  return { base, entries: run?.entries ?? [], chains: run?.chains ?? [], spans: [...spans], blocks: [], by: [] };
}

export interface FillOptions extends LogLoadOptions {
  readonly logger: Logger;
  readonly damage: DamageLedger;
}

/** @throws STORAGE_CORRUPT when nobody gives what a hole held */
export async function fillHoles(base: LogBase, assembly: Assembly, options: FillOptions): Promise<RepairedLog> {
  const { runs, holes } = assembly;
  const [entries, chains]: [Entry[], number[]] = [[], []];
  const spans = [...assembly.spans];
  const blocks: { readonly first: LogIndex; readonly record: Buffer }[] = [];
  const by = new Set<string>();
  for (const [number, run] of runs.entries()) {
    for (const entry of run.entries) entries.push(entry);
    for (const chain of run.chains) chains.push(chain);
    const hole = holes[number];
    if (hole === undefined) break;
    const before = chains.at(-1) ?? base.chain;
    const found = await findEntries(hole, before, options);
    by.add(found.from);
    for (const entry of found.entries) entries.push(entry);
    for (const chain of found.chains) chains.push(chain);
    for (const part of splitBlocks(found.entries)) {
      const at = part[0]?.index ?? hole.first;
      const { record } = encodeEntryBlock(part, chains[at - base.index - 2] ?? base.chain);
      blocks.push({ first: at, record });
      spans.push({ first: at, last: asLogIndex(at + part.length - 1) });
    }
  }
  spans.sort((a, b) => a.first - b.first);
  return { base, entries, chains, spans, blocks, by: [...by] };
}

async function findEntries(hole: Hole, chainBefore: number, { repairFrom, logger, damage }: FillOptions) {
  const { first, last } = hole;
  logger.log("warn", "the log has lost entries; others are asked for them", { first, last });
  for await (const { from, entries } of repairFrom?.(first, last) ?? []) {
    const chains = fitHole(hole, entries, chainBefore);
    if (chains !== undefined) return { from, entries, chains };
    damage.refused();
    logger.log("warn", "these are not the entries that the log has lost", { first, last, from });
  }
  throw new BlixardError("STORAGE_CORRUPT", `the log has lost the entries ${first} to ${last}, and nobody gave them`, {
    hint: "Start the other members first, and then this node again. If they do not have them any more: blixard recover.",
  });
}

function* splitBlocks(entries: readonly Entry[]): Iterable<readonly Entry[]> {
  let part: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    part.push(entry);
    bytes += entry.kind === "normal" ? entry.data.length : 0;
    if (bytes < blockBytesMax) continue;
    yield part;
    part = [];
    bytes = 0;
  }
  if (part.length > 0) yield part;
}
