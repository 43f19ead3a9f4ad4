import { describe, expect, it } from "@jest/globals";
import { assertBulkLimits, bulkLimits } from "./bulk-limits.ts";

describe("assertBulkLimits", () => {
  it.each([
    ["pieceBytes", 4 * 1024 * 1024],
    ["chunkBytes", 8 * 1024 * 1024],
    ["chunksPerSourceMax", 9],
    ["pingsMissedMax", 5],
  ] as const)("refuses a value of %s that contradicts another limit", (name, value) => {
    expect(() => assertBulkLimits({ ...bulkLimits, [name]: value })).toThrow();
    expect(() => assertBulkLimits(bulkLimits)).not.toThrow();
  });
});
