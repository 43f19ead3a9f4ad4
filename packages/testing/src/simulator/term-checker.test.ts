import { asLogIndex, asNodeId, asTerm } from "@blixard/raft";
import { describe, expect, it } from "@jest/globals";
import { TermChecker } from "./term-checker.ts";
import { Violations } from "./violation.ts";

const stateOf = (term: number, vote: number) => ({
  ...{ term: asTerm(term), vote: asNodeId(vote), commit: asLogIndex(0) },
});

describe("TermChecker.stored", () => {
  it("takes a term in which a node has voted for itself, from everybody after it", () => {
    const violations = new Violations();
    const checker = new TermChecker(violations);
    checker.stored(1, stateOf(5, 1));
    checker.stored(2, stateOf(5, 1));
    checker.stored(3, stateOf(5, 0));
    expect(violations.first).toBeUndefined();
  });

  it("reports a term that nobody began", () => {
    const violations = new Violations();
    const checker = new TermChecker(violations);
    checker.stored(1, stateOf(5, 1));
    checker.stored(2, stateOf(6, 1));
    expect(violations.first?.property).toBe("a term begins with a candidate");
  });
});
