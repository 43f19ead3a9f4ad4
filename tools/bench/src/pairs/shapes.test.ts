import { describe, expect, it } from "@jest/globals";
import { estimateSeconds, pairOptions, shapeName, shapesOf } from "./shapes.ts";

describe("pairOptions", () => {
  it("crosses what the flags name", () => {
    const { shapes, settings } = pairOptions({ load: "put,mix", clients: "1,256", value: "100,1024", nodes: "1,3,5" });
    expect(shapes).toHaveLength(8);
    expect(settings.map(({ nodes }) => nodes)).toEqual([1, 3, 5]);
  });

  it("has a small default, a full run and a smoke of less than two minutes", () => {
    expect(estimateSeconds(pairOptions({}))).toBeLessThan(600);
    expect(estimateSeconds(pairOptions({ smoke: true }))).toBeLessThan(120);
    expect(pairOptions({ full: true }).shapes).toHaveLength(24);
    expect(pairOptions({ full: true, clients: "64" }).shapes).toHaveLength(6);
  });

  it("refuses what it does not know, as a bad flag", () => {
    for (const flags of [{ load: "delete" }, { clients: "1,x" }, { value: "39" }, { rounds: "1,2" }, { nodes: "0" }]) {
      expect(() => pairOptions(flags)).toThrow(/takes/);
    }
  });
});

describe("shapesOf", () => {
  it("asks no followers of one node", () => {
    const options = pairOptions({ where: "all,leader,followers", nodes: "1,3", load: "put", clients: "1" });
    expect(options.settings.map((setting) => shapesOf(options, setting).length)).toEqual([2, 3]);
  });
});

describe("shapeName", () => {
  it("says what is unusual", () => {
    expect(shapeName({ kind: "put", clients: 1, valueBytes: 100, where: "all" })).toBe("put 100 B, 1 client");
    expect(shapeName({ kind: "mix", clients: 64, valueBytes: 1024, where: "leader" })).toBe(
      "mix 1024 B, 64 clients, leader",
    );
  });
});
