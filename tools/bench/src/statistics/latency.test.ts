import { describe, expect, it } from "@jest/globals";
import { LatencySample } from "./latency.ts";

describe("LatencySample.quantile", () => {
  it("takes the nearest rank", () => {
    const sample = new LatencySample();
    for (const value of [5, 1, 4, 2, 3]) sample.add(value);
    expect(sample.quantile(0.5)).toBe(3);
    expect(sample.quantile(0.99)).toBe(5);
    expect(sample.quantile(0)).toBe(1);
  });

  it("says that an empty sample has none", () => {
    expect(new LatencySample().quantile(0.5)).toBeNaN();
  });
});
