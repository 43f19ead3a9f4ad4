import { describe, expect, it } from "@jest/globals";
import { assertAtMost, assertBelow } from "./assert.ts";

const of = (chunkBytes: number) => ({ chunkBytes });

describe("assertAtMost", () => {
  it("names both limits, their values and why", () => {
    expect(() => assertAtMost(of(9), { frameBytes: 8 }, "a frame holds a chunk")).toThrow(
      "chunkBytes (9) is more than frameBytes (8), but a frame holds a chunk",
    );
    expect(() => assertAtMost(of(8), { frameBytes: 8 }, "a frame holds a chunk")).not.toThrow();
  });

  it("holds between each of several limits, and for none that is no number", () => {
    expect(() => assertAtMost(of(1), { queueBytes: 2, frameBytes: 0 }, "why")).toThrow("frameBytes (0)");
    expect(() => assertAtMost(of(Number.NaN), { frameBytes: 8 }, "why")).toThrow("chunkBytes (NaN)");
  });
});

describe("assertBelow", () => {
  it("refuses the same value too", () => {
    expect(() => assertBelow(of(8), { frameBytes: 8 }, "a frame has a header")).toThrow(
      "chunkBytes and frameBytes are both 8, but a frame has a header",
    );
    expect(() => assertBelow(of(9), { frameBytes: 8 }, "why")).toThrow("more than");
    expect(() => assertBelow(of(7), { frameBytes: 8 }, "why")).not.toThrow();
  });
});
