import { describe, expect, it } from "@jest/globals";
import { parseHealth } from "./commands/vm-health-options.ts";
import { formatAge, formatMemory, parseDurationMs, parseInteger, parseMemoryMiB } from "./quantities.ts";
import { displayWidth, formatTable } from "./table.ts";

describe("formatTable", () => {
  it("aligns columns by what a terminal shows, and leaves no space at line ends", () => {
    const rows = [
      ["web", "Running"],
      ["日本", ""],
      ["a\nb\u001b[31m", "x"],
    ];
    const lines = ["NAME       PHASE", "web        Running", "日本", "a b [31m   x", ""];
    expect(formatTable(["NAME", "PHASE"], rows).split("\n")).toEqual(lines);
    expect(formatTable(["A", "B"], [["日本", "x"]])).toBe("A      B\n日本   x\n");
  });

  it("counts wide and combining characters", () => {
    expect([displayWidth("abc"), displayWidth("日本"), displayWidth("e\u0301"), displayWidth("🙂")]).toEqual([
      3, 4, 1, 2,
    ]);
  });
});

describe("quantities", () => {
  it("reads memory", () => {
    const texts = ["256", "256M", "256MiB", "1G", "1.5g", "2T"];
    expect(texts.map(parseMemoryMiB)).toEqual([256, 256, 256, 1024, 1536, 2 * 1024 * 1024]);
    expect([formatMemory(256), formatMemory(1024), formatMemory(1536)]).toEqual(["256 MiB", "1 GiB", "1.5 GiB"]);
  });

  it("reads times", () => {
    expect(["30", "500ms", "30s", "1.5m", "2h"].map((text) => parseDurationMs(text))).toEqual([
      30_000, 500, 30_000, 90_000, 7_200_000,
    ]);
    expect(parseDurationMs("0s", { minMs: 0 })).toBe(0);
    expect(parseHealth(["tcp:22,grace=0s"])).toEqual([{ type: "tcp", port: 22, graceMs: 0 }]);
    expect([5_000, 119_000, 180_000, 7_200_000, 200_000_000].map(formatAge)).toEqual(["5s", "119s", "3m", "2h", "2d"]);
  });

  it.each(["", "-1", "1K", "0.3M", "G", "1e9", "256 M B"])("refuses %j as memory", (text) => {
    expect(() => parseMemoryMiB(text)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("refuses other nonsense", () => {
    for (const text of ["", "0", "1y", "-1s", "31d"]) expect(() => parseDurationMs(text)).toThrow(/length of time/);
    for (const text of ["", "x", "-1", "1.5", "0"]) expect(() => parseInteger(text, "n", 1)).toThrow(/whole number/);
  });
});
