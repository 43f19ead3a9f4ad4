import { describe, expect, it } from "@jest/globals";
import { parseRssMiB, parseStat, parseWrittenBytes, processUsage, threadUsages } from "./process-usage.ts";

const rest = "S 3962 3962 32459 0 -1 4194304 97 0 0 0 250 50 7 9 20 0 1 0 5518558 3133440 380";

describe("parseStat", () => {
  it("adds user and kernel time, without that of children", () => {
    expect(parseStat(`3980 (node) ${rest}`)).toEqual({ id: 3980, name: "node", cpuSeconds: 3 });
  });

  it("takes a name with spaces and parentheses", () => {
    expect(parseStat(`1 (a) R (b)) ${rest}`)).toEqual({ id: 1, name: "a) R (b)", cpuSeconds: 3 });
  });

  it("refuses what is no such line", () => {
    expect(() => parseStat("no such process")).toThrow(/no line of/);
  });
});

describe("parseRssMiB", () => {
  it("reads the resident memory", () => {
    expect(parseRssMiB("VmHWM:\t   99999 kB\nVmRSS:\t   20480 kB\nRssAnon:\t 1 kB\n")).toBe(20);
  });
});

describe("parseWrittenBytes", () => {
  it("leaves out what was cancelled", () => {
    expect(parseWrittenBytes("wchar: 5\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n")).toBe(4096);
  });

  it("knows nothing of a file that it may not read", () => {
    expect(parseWrittenBytes("")).toBeUndefined();
  });
});

describe("processUsage", () => {
  it("sees the work of its own process", () => {
    const before = processUsage(process.pid);
    while (process.cpuUsage().user + process.cpuUsage().system < (before.cpuSeconds + 0.05) * 1e6);
    const after = processUsage(process.pid);
    expect(after.cpuSeconds).toBeGreaterThan(before.cpuSeconds);
    expect(after.rssMiB).toBeGreaterThan(10);
    const ids = threadUsages(process.pid).map(({ id }) => id);
    expect(ids).toContain(process.pid);
    expect(ids.length).toBeGreaterThan(1);
  });
});
