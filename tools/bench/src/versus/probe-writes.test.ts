import { describe, expect, it } from "@jest/globals";
import { longestGapMs } from "./probe-writes.ts";

describe("longestGapMs", () => {
  it("begins with the last acknowledgement before the kill", () => {
    expect(longestGapMs([0, 500, 520, 1_720, 1_740, 1_900], 530)).toBe(1_200);
  });

  it("leaves out what was before, and sees a second gap", () => {
    expect(longestGapMs([0, 5_000, 5_020, 6_020, 6_040, 7_540, 7_560], 5_030)).toBe(1_500);
  });

  it("is 0 where nothing follows", () => {
    expect(longestGapMs([0, 10], 20)).toBe(0);
  });
});
