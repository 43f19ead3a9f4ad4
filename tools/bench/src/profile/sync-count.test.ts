import { describe, expect, it } from "@jest/globals";
import { parseSyncCount } from "./sync-count.ts";

describe("parseSyncCount", () => {
  it("adds both calls, with and without errors", () => {
    const report = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 98.50    0.012345         123       101           fdatasync
  1.50    0.000188          94         2         1 fsync
------ ----------- ----------- --------- --------- ----------------
100.00    0.012533         121       103         1 total
`;
    expect(parseSyncCount(report)).toBe(103);
  });

  it("is 0 for a process that synced nothing", () => {
    expect(parseSyncCount("")).toBe(0);
  });
});
