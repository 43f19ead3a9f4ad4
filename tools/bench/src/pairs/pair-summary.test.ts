import { describe, expect, it } from "@jest/globals";
import type { RoundSample } from "./measure-round.ts";
import { summarize } from "./pair-summary.ts";

function sample(perSecond: number, parts: Partial<RoundSample> = {}): RoundSample {
  return {
    ...{ operations: 100, writes: 100, perSecond, p50Ms: 2, p99Ms: 8, p999Ms: 9, latencyBuckets: [], failures: 0 },
    ...{ cpuUsPerOperation: 500, nodes: [{ leads: true, cpuSeconds: 1, rssMiB: 90 }], loadCpuSeconds: 1 },
    ...parts,
  };
}

describe("summarize", () => {
  it("takes the ratio within each pair, so that a slow minute slows both", () => {
    const pairs = [
      { base: sample(1_000), head: sample(500) },
      { base: sample(100), head: sample(50) },
      { base: sample(10), head: sample(5) },
    ];
    const { rate, pairs: count, head } = summarize(pairs, 1);
    expect(rate).toEqual({ median: 0.5, low: 0.5, high: 0.5, count: 3 });
    expect([count, head.perSecond]).toEqual([3, 50]);
  });

  it("does not count a pair in which a request of either side failed", () => {
    const pairs = [
      { base: sample(100), head: sample(100) },
      { base: sample(100), head: sample(900, { failures: 1 }) },
      { base: sample(900, { failures: 2 }), head: sample(100) },
    ];
    const { rate, voidPairs, base } = summarize(pairs, 1);
    expect([rate.median, voidPairs, base.perSecond]).toEqual([1, 2, 100]);
  });

  it("has no ratio where every pair is void", () => {
    const { rate, pairs } = summarize([{ base: sample(1, { failures: 1 }), head: sample(1) }], 1);
    expect(pairs).toBe(0);
    expect(rate.median).toBeNaN();
  });

  it("takes the memory of the largest node, and says where the disk is not known", () => {
    const nodes = [20, 110, 30].map((rssMiB) => ({ leads: false, cpuSeconds: 1, rssMiB }));
    const { head } = summarize([{ base: sample(1), head: sample(1, { nodes, wireBytesPerWrite: 7 }) }], 1);
    expect([head.rssMiB, head.diskBytesPerWrite, head.wireBytesPerWrite]).toEqual([110, null, 7]);
  });
});
