import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";
import type { PairRecord } from "../pairs/pair-record.ts";
import { summarize } from "../pairs/pair-summary.ts";
import { mergeRecord, type PageRecord, recordForPage, replaceRegion, writePage } from "./performance-page.ts";

const circumstances = {
  ...{
    startedAt: "2026-01-02T03:04:05.000Z",
    commit: "abc1234",
    node: "v20.19.0",
    kernel: "6",
    cpu: "A CPU",
    cores: 2,
  },
  ...{ loadAverage: 0.1, fsyncPerSecond: 900 },
};

function record(perSecond: number, parts: Partial<PairRecord> = {}): PairRecord {
  const sample = {
    ...{
      operations: 9,
      writes: 9,
      perSecond,
      p50Ms: 2,
      p99Ms: 8,
      p999Ms: 9,
      latencyBuckets: [[2, 9]] as const,
      failures: 0,
    },
    ...{ cpuUsPerOperation: 500, nodes: [{ leads: true, cpuSeconds: 1, rssMiB: 90 }], loadCpuSeconds: 1 },
  };
  const pairs = [{ base: sample, head: { ...sample, perSecond: perSecond / 2 } }];
  const shapes = [1, 64].map((clients) => ({
    shape: { kind: "put", clients, valueBytes: 100, where: "all" } as const,
    ...{ summary: summarize(pairs, 1), pairs },
  }));
  const readBacks = [{ side: "etcd", acknowledgedKeys: 10, lost: 0, restartSeconds: 1 }];
  return {
    ...{ format: 1, kind: "versus", base: "etcd", head: "blixard", circumstances },
    options: { rounds: 1, durationMs: 5_000, warmUpMs: 0, keysPerClient: 10, uniqueKeys: false, seed: 1 },
    settings: [{ setting: { transport: "iroh", nodes: 3 }, shapes, readBacks }],
    ...parts,
  };
}

const regions = ["versus", "floor", "failover", "compare"];
const emptyPage = regions
  .map((kind) => `<!-- ${kind}: written by the benchmark -->\n<!-- end of ${kind} -->\n`)
  .join("");

describe("writePage", () => {
  it("says where nothing is recorded, and is the same when it is written again", () => {
    const once = writePage(emptyPage, []);
    expect(once.page.match(/Nothing is recorded yet/g)).toHaveLength(regions.length);
    expect(writePage(once.page, [])).toEqual(once);
  });

  it("has a row for each shape and shows every plot that it makes", () => {
    const { page, plots } = writePage(emptyPage, [record(1_000)]);
    expect(page).toContain(
      "| put 100 B, 64 clients | 1000 (2.0 / 8.0, 500) | 500 (2.0 / 8.0, 500) | 0.50x [0.50, 0.50] |",
    );
    expect(plots.map(({ file }) => file)).toEqual(["versus-1-iroh-3-ratio.svg", "versus-1-iroh-3-rate.svg"]);
    for (const { file } of plots) expect(page).toContain(`(performance/${file})`);
  });

  it("warns of a machine that was busy, and only then", () => {
    expect(writePage(emptyPage, [record(1)]).page).not.toContain("busy");
    const busy = record(1, { circumstances: { ...circumstances, loadAverage: 4.2 } });
    expect(writePage(emptyPage, [busy]).page).toContain("busy with other things (load 4.2)");
  });

  it("takes a record as JSON gives it back, in which every pair is void", () => {
    const { settings, ...rest } = record(1_000);
    const failed = settings.map(({ shapes, ...setting }) => ({
      ...setting,
      shapes: shapes.map(({ shape, pairs }) => {
        const spoilt = pairs.map(({ base, head }) => ({ base: { ...base, failures: 1 }, head }));
        return { shape, pairs: spoilt, summary: summarize(spoilt, 1) };
      }),
    }));
    const { page } = writePage(emptyPage, [JSON.parse(JSON.stringify({ ...rest, settings: failed })) as PairRecord]);
    expect(page).toContain("| put 100 B, 1 client | - | - | - | - | - |");
    expect(page).not.toContain("NaN");
  });
});

describe("replaceRegion", () => {
  it("refuses a page without its marks", () => {
    expect(() => replaceRegion("# Performance\n", "versus", "x")).toThrow(/has no region/);
  });
});

describe("mergeRecord", () => {
  it("replaces what measured the same, and keeps what did not", () => {
    const grpc = record(3, {
      settings: record(3).settings.map((one) => ({ ...one, setting: { transport: "grpc", nodes: 3 } })),
    });
    const merged = mergeRecord(mergeRecord([record(1)], grpc), record(2));
    expect(merged).toEqual([grpc, record(2)]);
  });
});

describe("docs/performance.md", () => {
  it("is what the benchmark makes of the records beside it", () => {
    const docs = fileURLToPath(new URL("../../../../docs/", import.meta.url));
    const page = readFileSync(`${docs}performance.md`, "utf8");
    const files = readdirSync(`${docs}performance`);
    const records = readFileSync(`${docs}performance/records.jsonl`, "utf8").split("\n").filter(Boolean);
    const made = writePage(
      page,
      records.map((line) => JSON.parse(line) as PageRecord),
    );
    expect(made.page).toBe(page);
    expect(files.filter((name) => name.endsWith(".svg")).sort()).toEqual(made.plots.map(({ file }) => file).sort());
    for (const { file, svg } of made.plots) expect(readFileSync(`${docs}performance/${file}`, "utf8")).toBe(svg);
  });
});

describe("recordForPage", () => {
  it("leaves out the latencies only", () => {
    const [pair] = recordForPage(record(1_000)).settings[0]?.shapes[0]?.pairs ?? [];
    expect(pair?.base).toEqual({ ...record(1_000).settings[0]?.shapes[0]?.pairs[0]?.base, latencyBuckets: [] });
  });
});
