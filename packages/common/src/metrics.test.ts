import { describe, expect, it } from "@jest/globals";
import { bindMetrics, type MetricDeclaration, type MetricDeclarations, type Metrics } from "./metrics.ts";

const declarations = {
  calls: { type: "counter", name: "calls_total", help: "Calls.", labelNames: ["code"] },
  open: { type: "gauge", name: "open", help: "Open calls." },
  duration: { type: "histogram", name: "duration_seconds", help: "Duration.", buckets: [1] },
} as const satisfies MetricDeclarations;

describe("bindMetrics", () => {
  it("makes each metric once, of its type, with its declaration", () => {
    const made: [string, MetricDeclaration][] = [];
    const seen: unknown[] = [];
    const port: Metrics = {
      counter(declaration) {
        made.push(["counter", declaration]);
        return { add: (value, labels) => seen.push(["add", value, labels]) };
      },
      gauge(declaration) {
        made.push(["gauge", declaration]);
        return { set: (value) => seen.push(["set", value]), remove: () => {} };
      },
      histogram(declaration) {
        made.push(["histogram", declaration]);
        return { observe: (value) => seen.push(["observe", value]) };
      },
    };
    const metrics = bindMetrics(port, declarations);
    metrics.calls.add(2, { code: "OK" });
    metrics.open.set(3);
    metrics.duration.observe(4);
    expect(made).toEqual([
      ["counter", { name: "calls_total", help: "Calls.", labelNames: ["code"] }],
      ["gauge", { name: "open", help: "Open calls." }],
      ["histogram", { name: "duration_seconds", help: "Duration.", buckets: [1] }],
    ]);
    expect(seen).toEqual([
      ["add", 2, { code: "OK" }],
      ["set", 3],
      ["observe", 4],
    ]);
  });
});
