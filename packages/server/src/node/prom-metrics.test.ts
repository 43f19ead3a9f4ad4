import { describe, expect, it } from "@jest/globals";
import { createPromMetrics } from "./prom-metrics.ts";

async function linesOf(metrics: ReturnType<typeof createPromMetrics>, name: string): Promise<string[]> {
  const text = await metrics.text();
  expect(text.endsWith("\n")).toBe(true);
  return text.split("\n").filter((line) => line.includes(name));
}

describe("createPromMetrics", () => {
  it("writes counters and gauges, each series with its labels", async () => {
    const metrics = createPromMetrics();
    const calls = metrics.counter({ name: "blixard_t_total", help: 'Of a "kind"\nand \\.', labelNames: ["a", "b"] });
    calls.add(0, { a: "x", b: "y" });
    calls.add(2, { b: "y", a: "x" });
    calls.add(1, { a: 'q"\\\n', b: "" });
    const gauge = metrics.gauge({ name: "blixard_t_now", help: "Now.", labelNames: ["a"] });
    gauge.set(1.5, { a: "x" });
    gauge.set(2, { a: "gone" });
    gauge.remove({ a: "gone" });
    metrics.gauge({ name: "blixard_t_none", help: "None." });
    expect(await linesOf(metrics, "blixard_t_")).toEqual([
      '# HELP blixard_t_total Of a "kind"\\nand \\\\.',
      "# TYPE blixard_t_total counter",
      'blixard_t_total{a="x",b="y"} 2',
      'blixard_t_total{a="q\\"\\\\\\n",b=""} 1',
      "# HELP blixard_t_now Now.",
      "# TYPE blixard_t_now gauge",
      'blixard_t_now{a="x"} 1.5',
      "# HELP blixard_t_none None.",
      "# TYPE blixard_t_none gauge",
      "blixard_t_none 0",
    ]);
  });

  it("writes histograms with buckets that add up", async () => {
    const metrics = createPromMetrics();
    const declaration = { name: "blixard_t_seconds", help: "Time.", buckets: [0.5, 1] };
    const time = metrics.histogram({ ...declaration, labelNames: ["a"] });
    for (const value of [0.5, 0.75, 3]) time.observe(value, { a: "x" });
    metrics.histogram({ ...declaration, name: "blixard_t_none_seconds" });
    expect(await linesOf(metrics, "blixard_t_")).toEqual([
      "# HELP blixard_t_seconds Time.",
      "# TYPE blixard_t_seconds histogram",
      'blixard_t_seconds_bucket{le="0.5",a="x"} 1',
      'blixard_t_seconds_bucket{le="1",a="x"} 2',
      'blixard_t_seconds_bucket{le="+Inf",a="x"} 3',
      'blixard_t_seconds_sum{a="x"} 4.25',
      'blixard_t_seconds_count{a="x"} 3',
      "# HELP blixard_t_none_seconds Time.",
      "# TYPE blixard_t_none_seconds histogram",
      'blixard_t_none_seconds_bucket{le="0.5"} 0',
      'blixard_t_none_seconds_bucket{le="1"} 0',
      'blixard_t_none_seconds_bucket{le="+Inf"} 0',
      "blixard_t_none_seconds_sum 0",
      "blixard_t_none_seconds_count 0",
    ]);
  });

  it("gives the same metric for the same declaration, and tells of the process too", async () => {
    const metrics = createPromMetrics();
    for (let at = 0; at < 2; at++) metrics.counter({ name: "blixard_t_total", help: "Once." }).add();
    expect(await linesOf(metrics, "blixard_t_total")).toContain("blixard_t_total 2");
    expect((await linesOf(metrics, "blixard_process_cpu_seconds_total")).length).toBeGreaterThan(0);
    expect(() => metrics.counter({ name: "other_total", help: "Not ours." })).toThrow("blixard_");
  });

  it("takes no label that was not declared, and no value that does not add up", () => {
    const metrics = createPromMetrics();
    const declared = { help: "", labelNames: ["a"] };
    expect(() => metrics.counter({ ...declared, name: "blixard_a" }).add(1, { b: "x" })).toThrow("no label b");
    expect(() => metrics.counter({ ...declared, name: "blixard_b" }).add(-1, { a: "x" })).toThrow("never goes back");
    expect(() => metrics.histogram({ ...declared, name: "blixard_c" }).observe(Number.NaN, { a: "x" })).toThrow();
  });
});
