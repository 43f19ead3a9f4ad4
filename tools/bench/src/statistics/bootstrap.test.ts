import { describe, expect, it } from "@jest/globals";
import { medianInterval, ratios } from "./bootstrap.ts";

describe("medianInterval", () => {
  it("is a point for values that are all alike", () => {
    expect(medianInterval([2, 2, 2], { seed: 1 })).toEqual({ median: 2, low: 2, high: 2, count: 3 });
  });

  it("holds the median, stays within the values, and leaves out the rare ends", () => {
    const values = Array.from({ length: 21 }, (_, at) => at);
    const { median, low, high } = medianInterval(values, { seed: 1 });
    expect(median).toBe(10);
    // The 95 % interval of a median of 21 lies by order statistics between the 6th and the 16th value.
    expect(low).toBeGreaterThanOrEqual(4);
    expect(low).toBeLessThanOrEqual(7);
    expect(high).toBeGreaterThanOrEqual(13);
    expect(high).toBeLessThanOrEqual(16);
  });

  it("gives the same interval for the same seed only", () => {
    const values = [1.31, 0.92, 1.07, 1.19, 0.88, 1.4, 1.02, 0.97];
    const wide = { resamples: 50, share: 0.5 };
    expect(medianInterval(values, { seed: 7, ...wide })).toEqual(medianInterval(values, { seed: 7, ...wide }));
    const others = [1, 2, 3, 4, 5, 6].map((seed) => medianInterval(values, { seed, ...wide }).low);
    expect(new Set(others).size).toBeGreaterThan(1);
  });

  it("says that there is none without values", () => {
    expect(medianInterval([], { seed: 1 }).median).toBeNaN();
  });
});

describe("ratios", () => {
  it("puts the second of each pair over the first", () => {
    expect(
      ratios([
        [2, 3],
        [4, 1],
      ]),
    ).toEqual([1.5, 0.25]);
  });
});
