import { describe, expect, it } from "@jest/globals";
import { asTerm } from "../core/types.ts";
import { LeaderLease } from "./leader-lease.ts";

const term = asTerm(3);

describe("LeaderLease", () => {
  it("holds for less than the shortest time in which a follower refuses other candidates", () => {
    for (const [electionTicks, tickIntervalMs] of [
      [20, 50],
      [3, 300],
      [2, 100],
    ] as const) {
      const lease = new LeaderLease(electionTicks, tickIntervalMs);
      expect(lease.holds(term, 0)).toBe(false);
      lease.grant(term, 1_000);
      const promisedMs = (electionTicks - 1) * tickIntervalMs;
      expect(lease.holds(term, 1_000 + 0.89 * promisedMs)).toBe(true);
      expect(lease.holds(term, 1_000 + 0.91 * promisedMs)).toBe(false);
    }
  });

  it("is of one term, is not shortened by an older round, and ends when the voters change", () => {
    const lease = new LeaderLease(11, 100);
    lease.grant(term, 1_000);
    lease.grant(term, 500);
    expect(lease.holds(term, 1_800)).toBe(true);
    expect(lease.holds(asTerm(4), 1_800)).toBe(false);
    lease.interrupt();
    expect(lease.holds(term, 1_001)).toBe(false);
    lease.grant(term, 1_500);
    expect(lease.holds(term, 1_501)).toBe(true);
  });

  it("is not granted again in a term in which leadership was offered to another node", () => {
    const lease = new LeaderLease(11, 100);
    lease.forfeit(term);
    lease.grant(term, 1_000);
    expect(lease.holds(term, 1_001)).toBe(false);
    lease.grant(asTerm(4), 1_000);
    expect(lease.holds(asTerm(4), 1_001)).toBe(true);
  });
});
