import { describe, expect, it } from "@jest/globals";
import { hasMetric, sumOfMetric } from "./metrics-text.ts";

const page = `# HELP frames_total Frames.
# TYPE frames_total counter
frames_total{lane="raft",peer="2"} 5
frames_total{lane="rpc",peer="2"} 7
frames_total_count 100
commit_index 1.2e+03
# TYPE refusals_total counter
`;

describe("sumOfMetric", () => {
  it("adds the series of exactly this name", () => {
    expect(sumOfMetric(page, "frames_total")).toBe(12);
    expect(sumOfMetric(page, "frames_total", { lane: "rpc" })).toBe(7);
    expect(sumOfMetric(page, "commit_index")).toBe(1200);
    expect(sumOfMetric(page, "frames_total", { lane: "bulk" })).toBe(0);
  });
});

describe("hasMetric", () => {
  it("tells what is missing from what is 0", () => {
    expect([hasMetric(page, "commit_index"), hasMetric(page, "entries_total"), hasMetric(page, "frames")]).toEqual([
      ...[true, false, false],
    ]);
    expect(hasMetric(page, "refusals_total")).toBe(true);
  });
});
