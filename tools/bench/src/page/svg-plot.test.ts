import { describe, expect, it } from "@jest/globals";
import { linePlot, niceCeiling, ratioPlot } from "./svg-plot.ts";

const attributes = (svg: string, element: string, name: string) =>
  [...svg.matchAll(new RegExp(`<${element} [^>]*\\b${name}="([^"]*)"`, "g"))].map(([, value]) => Number(value));

describe("ratioPlot", () => {
  const rows = [
    { label: "put <1>", median: 1, low: 0.9, high: 1.1 },
    { label: "get", median: 0.5, low: 0.5, high: 0.5 },
    { label: "mix", median: 2, low: 1.5, high: 2 },
    { label: "void", median: Number.NaN, low: Number.NaN, high: Number.NaN },
  ];
  const svg = ratioPlot("a & b", rows);

  it("puts half and double equally far from 1, and leaves out what has no value", () => {
    const [one = 0, half = 0, double = 0, ...more] = attributes(svg, "circle", "cx");
    expect(more).toEqual([]);
    expect(one - half).toBeCloseTo(double - one, 0);
    expect(svg).not.toContain("NaN");
    expect(svg).not.toContain("void");
  });

  it("escapes text", () => {
    expect(svg).toContain("put &lt;1&gt;");
    expect(svg).toContain("<title>a &amp; b</title>");
  });
});

describe("linePlot", () => {
  it("draws from 0 up and keeps equal factors equally far apart", () => {
    const points = [
      [1, 0],
      [16, 500],
      [256, 1_000],
    ] as const;
    const svg = linePlot("rate", { x: "clients", y: "1/s" }, [{ name: "etcd", points }]);
    const [x1 = 0, x16 = 0, x256 = 0] = attributes(svg, "circle", "cx");
    expect(x256 - x16).toBeCloseTo(x16 - x1, 0);
    expect(attributes(svg, "circle", "cy")).toEqual([300, 170, 40]);
  });

  it("draws one point, and nothing at all", () => {
    const one = linePlot("rate", { x: "x", y: "y" }, [{ name: "a", points: [[64, 5]] }]);
    expect(one + linePlot("rate", { x: "x", y: "y" }, [])).not.toMatch(/NaN|Infinity/);
  });
});

describe("niceCeiling", () => {
  it("is no less, in a short number", () => {
    expect([1, 1_100, 3_900, 4_001, 87].map(niceCeiling)).toEqual([1, 2_000, 4_000, 6_000, 100]);
  });
});
