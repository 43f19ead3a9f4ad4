import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { committedIndex, voteResult } from "./quorum.ts";
import { asLogIndex, asNodeId, type LogIndex, type NodeId } from "./types.ts";

const ids = (...values: number[]): NodeId[] => values.map(asNodeId);
const acks = (...pairs: [number, number][]) => new Map(pairs.map(([id, at]) => [asNodeId(id), asLogIndex(at)]));
const ballots = (...pairs: [number, boolean][]) => new Map(pairs.map(([id, vote]) => [asNodeId(id), vote]));

/** Tries every index that someone acknowledged, and counts who has it. */
function slowCommittedIndex(half: readonly NodeId[], acked: ReadonlyMap<NodeId, LogIndex>): number {
  if (half.length === 0) return Number.POSITIVE_INFINITY;
  const candidates = [0, ...acked.values()].sort((left, right) => right - left);
  const found = candidates.find((index) => half.filter((id) => (acked.get(id) ?? 0) >= index).length * 2 > half.length);
  return found ?? 0;
}

/** Lets those who have not voted vote all yes, and then all no. */
function slowVoteResult(half: readonly NodeId[], votes: ReadonlyMap<NodeId, boolean>): string {
  const wins = (missing: boolean) =>
    half.length === 0 || half.filter((id) => votes.get(id) ?? missing).length * 2 > half.length;
  if (wins(false)) return "VoteWon";
  return wins(true) ? "VotePending" : "VoteLost";
}

const half = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 9 }).map((values) => values.map(asNodeId));
const acked = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 12 })), { maxLength: 9 });
const votes = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.boolean()), { maxLength: 9 });

describe("committedIndex", () => {
  it("is what a majority has", () => {
    expect(committedIndex(ids(1, 2, 3), [], acks([1, 10], [2, 7], [3, 5]))).toBe(7);
    expect(committedIndex(ids(1, 2, 3, 4), [], acks([1, 10], [2, 7], [3, 5], [4, 1]))).toBe(5);
  });

  it("counts a silent voter as 0", () => {
    expect(committedIndex(ids(1, 2, 3), [], acks([1, 10]))).toBe(0);
  });

  it("needs both halves of a joint configuration", () => {
    expect(committedIndex(ids(1, 2, 3), ids(4, 5, 6), acks([1, 9], [2, 9], [4, 3], [5, 4]))).toBe(3);
  });

  it("is not bounded by an empty half", () => {
    expect(committedIndex([], [], acks())).toBe(Number.POSITIVE_INFINITY);
    expect(committedIndex([], ids(1), acks([1, 4]))).toBe(4);
  });

  it("agrees with the slow obvious version", () => {
    fc.assert(
      fc.property(half, half, acked, (incoming, outgoing, pairs) => {
        const map = acks(...pairs);
        const slow = Math.min(slowCommittedIndex(incoming, map), slowCommittedIndex(outgoing, map));
        expect(committedIndex(incoming, outgoing, map)).toBe(slow);
        expect(committedIndex(outgoing, incoming, map)).toBe(slow);
      }),
      { numRuns: 500 },
    );
  });
});

describe("voteResult", () => {
  it("is open until a majority agrees", () => {
    expect(voteResult(ids(1, 2, 3), [], ballots([1, true]))).toBe("VotePending");
    expect(voteResult(ids(1, 2, 3), [], ballots([1, true], [2, true]))).toBe("VoteWon");
    expect(voteResult(ids(1, 2, 3), [], ballots([1, false], [2, false]))).toBe("VoteLost");
  });

  it("is lost as soon as one half is lost", () => {
    expect(voteResult(ids(1), ids(2), ballots([2, false]))).toBe("VoteLost");
  });

  it("agrees with the slow obvious version", () => {
    fc.assert(
      fc.property(half, half, votes, (incoming, outgoing, pairs) => {
        const map = ballots(...pairs);
        const results = [slowVoteResult(incoming, map), slowVoteResult(outgoing, map)];
        const lost = results.includes("VoteLost");
        const won = results.every((result) => result === "VoteWon");
        expect(voteResult(incoming, outgoing, map)).toBe(lost ? "VoteLost" : won ? "VoteWon" : "VotePending");
      }),
      { numRuns: 500 },
    );
  });
});
