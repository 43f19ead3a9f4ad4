import { describe, expect, it } from "@jest/globals";
import { LeakyBucket } from "./leaky-bucket.ts";

const times = (count: number, attempt: () => boolean) => Array.from({ length: count }, attempt).filter(Boolean).length;
const rate = { max: 5, perSecond: 2 };

describe("LeakyBucket", () => {
  it("has room for what it holds at once, and then for so much in a second, but never for more than it holds", () => {
    const bucket = new LeakyBucket();
    expect(times(9, () => bucket.takes(100, rate))).toBe(5);
    expect(bucket.takes(599, rate)).toBe(false);
    expect(bucket.takes(600, rate)).toBe(true);
    expect(times(9, () => bucket.takes(60_000, rate))).toBe(5);
    expect(bucket.room(62_400, rate)).toBeLessThan(5);
    expect(bucket.room(62_500, rate)).toBe(5);
  });

  it("takes all that is asked for or nothing", () => {
    const bucket = new LeakyBucket();
    expect([4, 4, 1].map((count) => bucket.takes(0, rate, count))).toEqual([true, false, true]);
  });

  it("is overfull where more is added than there is room for, until that has leaked", () => {
    const bucket = new LeakyBucket();
    bucket.add(0, rate, 8);
    expect(bucket.room(0, rate)).toBe(-3);
    expect(bucket.takes(1_999, rate)).toBe(false);
    expect(bucket.takes(2_000, rate)).toBe(true);
  });

  it("goes by the rate of the moment", () => {
    const bucket = new LeakyBucket();
    expect(times(9, () => bucket.takes(0, rate))).toBe(5);
    expect(times(9, () => bucket.takes(0, { max: 8, perSecond: 2 }))).toBe(3);
  });
});
