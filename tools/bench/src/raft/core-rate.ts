/** The bare core against that of the best npm package: alternating rounds in one process, the ratio of the medians. */
import { performance } from "node:perf_hooks";
import { assert } from "@blixard/common";
import type { BenchRow } from "../bench-row.ts";
import { median } from "../statistics/medians.ts";
import { type BenchGroup, benchPayloads } from "./bench-group.ts";
import { CoatyGroup } from "./coaty-group.ts";
import { OurGroup } from "./core-group.ts";

/** Uncounted rounds until both sides run as compiled code. */
const warmUpRounds = 3;
/** Divisible by every batch size. */
const entriesPerRound = 19_200;

export function measureCoreRate(batch: number, rounds: number): BenchRow {
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = -warmUpRounds; round < rounds; round++) {
    const rates = [roundRate(new OurGroup(benchPayloads), batch), roundRate(new CoatyGroup(benchPayloads), batch)];
    if (round < 0) continue;
    ours.push(rates[0] ?? 0);
    theirs.push(rates[1] ?? 0);
  }
  const ratio = median(ours) / median(theirs);
  return {
    name: `core, 3 nodes in memory, ${batch === 1 ? "one by one" : `batches of ${batch}`}`,
    value: median(ours),
    unit: "entries/s",
    bar: "at least 3x @coaty/consensus.raft",
    ratio,
    met: ratio >= 3,
    note: `peer ${median(theirs).toFixed(0)}/s`,
  };
}

function roundRate(group: BenchGroup, batch: number): number {
  const startedMs = performance.now();
  for (let sent = 0; sent < entriesPerRound; sent += batch) {
    group.propose(batch);
    group.settle();
  }
  const elapsedMs = performance.now() - startedMs;
  for (const count of group.committed()) assert(count === entriesPerRound, `a node committed ${count} entries`);
  return (entriesPerRound * 1000) / elapsedMs;
}
