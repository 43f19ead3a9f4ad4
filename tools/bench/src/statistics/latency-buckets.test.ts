import { describe, expect, it } from "@jest/globals";
import { latencyBuckets } from "./latency-buckets.ts";

describe("latencyBuckets", () => {
  it("counts what is within 5 % together, in order", () => {
    expect(latencyBuckets([10, 1, 1.01, 1.04, 100])).toEqual([
      [1, 1],
      [1.05, 2],
      [10.4, 1],
      [103, 1],
    ]);
  });

  it("loses none, and none lies above its bound", () => {
    const latencies = Array.from({ length: 500 }, (_, at) => 0.02 * (at + 1) ** 1.7);
    const buckets = latencyBuckets(latencies);
    expect(buckets.reduce((sum, [, count]) => sum + count, 0)).toBe(500);
    for (const [upperMs] of buckets) {
      const counted = buckets.filter(([bound]) => bound <= upperMs).reduce((sum, [, count]) => sum + count, 0);
      // A bound is rounded to four digits.
      expect(counted).toBeGreaterThanOrEqual(latencies.filter((latency) => latency <= upperMs * 0.999).length);
      expect(counted).toBeLessThanOrEqual(latencies.filter((latency) => latency <= upperMs * 1.001).length);
    }
  });
});
