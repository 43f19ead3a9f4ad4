import { describe, expect, it } from "@jest/globals";
import { sampleOf, samplesMax, seriesOf, sumsOf, withSample } from "./metrics.ts";

const text = (committed: number, count: number, seconds: number) => `# HELP blixard_raft_commit_index Index.
# TYPE blixard_raft_commit_index gauge
blixard_raft_commit_index ${committed}
blixard_raft_applied_index ${committed - 2}
blixard_raft_proposal_duration_seconds_bucket{le="+Inf"} ${count}
blixard_raft_proposal_duration_seconds_sum ${seconds}
blixard_raft_proposal_duration_seconds_count ${count}
`;

describe("the metrics of a node", () => {
  it("are summed over their labels", () => {
    const lines = 'a_total{kind="x } 9"} 1\na_total{kind="y"} 2.5\nb_total NaN\nab_total 7\n';
    expect([...sumsOf(lines, ["a_total", "b_total", "none"])]).toEqual([["a_total", 3.5]]);
  });

  it("become rates between two looks, and a gap where the node started again", () => {
    const looks = [
      sampleOf(text(100, 10, 1), 1_000),
      sampleOf(text(140, 30, 1.1), 3_000),
      sampleOf(text(5, 1, 0.5), 5_000),
    ];
    const { seconds, commitsPerSecond, writeMs, lag } = seriesOf(looks);
    expect([seconds, commitsPerSecond, lag]).toEqual([
      [3, 5],
      [20, null],
      [2, 2],
    ]);
    expect(writeMs[0]).toBeCloseTo(5);
    expect(writeMs[1]).toBeNull();
  });

  it("are kept for a bounded time", () => {
    let samples = [sampleOf(text(1, 0, 0), 0)] as readonly ReturnType<typeof sampleOf>[];
    for (let at = 1; at < 2 * samplesMax; at++) samples = withSample(samples, sampleOf(text(1, 0, 0), at));
    expect([samples.length, samples.at(-1)?.atMs]).toEqual([samplesMax, 2 * samplesMax - 1]);
  });
});
