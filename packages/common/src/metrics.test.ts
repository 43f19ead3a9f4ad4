import { describe, expect, it } from "@jest/globals";
import {
  bindMetrics,
  discardMetrics,
  type Labels,
  type MetricDeclaration,
  type MetricDeclarations,
  type Metrics,
} from "./metrics.ts";

const declarations = {
  calls: { type: "counter", name: "calls_total", help: "Calls.", labels: { code: "any" } },
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
  it("counts 0 from the start for every combination of closed lists, and for nothing that takes any text", () => {
    const seen: [string, number | undefined, Labels | undefined][] = [];
    const port: Metrics = {
      ...discardMetrics,
      counter: ({ name }) => ({ add: (value, labels) => seen.push([name, value, labels]) }),
    };
    bindMetrics(port, {
      plain: { type: "counter", name: "plain_total", help: "No label." },
      closed: {
        type: "counter",
        name: "closed_total",
        help: "Two closed lists.",
        labels: { kind: ["image", "snapshot"], result: ["done", "failed"] },
      },
      half: { type: "counter", name: "half_total", help: "One list.", labels: { kind: ["image"], code: "any" } },
      gauge: { type: "gauge", name: "gauge", help: "No counter.", labels: { kind: ["image"] } },
    });
    expect(seen).toEqual([
      ["plain_total", 0, {}],
      ["closed_total", 0, { kind: "image", result: "done" }],
      ["closed_total", 0, { kind: "image", result: "failed" }],
      ["closed_total", 0, { kind: "snapshot", result: "done" }],
      ["closed_total", 0, { kind: "snapshot", result: "failed" }],
    ]);
  });
});
