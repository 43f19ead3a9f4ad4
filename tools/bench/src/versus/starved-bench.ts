/**
 * `npm run bench -- versus starved [--seconds 300] [--pairs 5] [--percent 20] [--clients 8] [--warm-up 25] [--etcd PATH] [--only blixard|etcd] [--json]`:
 * three nodes on a fifth of one core, in turn with three of etcd where that is installed. What counts is how many writes
 * are acknowledged, for how long none is, and how often another node leads. Before that both have the whole machine for the
 * warm-up: it is a cluster that runs whose machine becomes short, and not one that has to start on it.
 */
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { intervalText } from "../pairs/pair-table.ts";
import { cleanAtEnd } from "../proc/endings.ts";
import { binary } from "../sides/binary.ts";
import { startBlixard } from "../sides/blixard-side.ts";
import { limitCpu } from "../sides/cpu-limit.ts";
import { etcdMissing, etcdVersion, startEtcd } from "../sides/etcd-side.ts";
import type { Side } from "../sides/side.ts";
import { medianInterval, ratios } from "../statistics/bootstrap.ts";

/** Until a cluster stands, and is gone again. */
const settingSeconds = 20;
const valueText = "v".repeat(100);

interface StarvedOptions {
  /** Of one core, for all nodes of a side together. */
  readonly percent: number;
  readonly clients: number;
  readonly durationMs: number;
  readonly warmUpMs: number;
}

interface StarvedRun {
  readonly side: string;
  readonly how: string;
  readonly writesPerSecond: number;
  readonly longestGapMs: number;
  readonly terms: number;
  readonly failures: number;
  readonly notes: readonly string[];
}

export async function runStarvedBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: "string", default: "300" },
      pairs: { type: "string", default: "5" },
      percent: { type: "string", default: "20" },
      clients: { type: "string", default: "8" },
      "warm-up": { type: "string", default: "25" },
      etcd: { type: "string", default: "etcd" },
      only: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  if (values.only !== "blixard" && etcdVersion(values.etcd) === undefined) {
    process.stderr.write(`bench: ${etcdMissing(values.etcd)}. Or measure ours alone: --only blixard\n`);
    process.exitCode = 69;
    return;
  }
  const sides = [
    ["blixard", () => startBlixard({ binary, nodes: 3 })],
    ["etcd", () => startEtcd({ binary: values.etcd, nodes: 3 })],
  ] as const;
  const runSeconds = Number(values.seconds) + Number(values["warm-up"]) + settingSeconds;
  const minutes = Math.ceil((Number(values.pairs) * (values.only === undefined ? 2 : 1) * runSeconds) / 60);
  process.stderr.write(`bench: about ${minutes} minutes\n`);
  const runs: StarvedRun[] = [];
  if (!values.json) process.stdout.write("CLUSTER  WRITES/S  LONGEST GAP MS  TERMS  FAILED  HELD BY     NOTES\n");
  for (let pair = 1; pair <= Number(values.pairs); pair++) {
    for (const [side, start] of pair % 2 === 1 ? sides : sides.toReversed()) {
      if (values.only !== undefined && values.only !== side) continue;
      const cluster = await start();
      try {
        const run = await measure(side, cluster, {
          percent: Number(values.percent),
          clients: Number(values.clients),
          durationMs: Number(values.seconds) * 1_000,
          warmUpMs: Number(values["warm-up"]) * 1_000,
        });
        runs.push(run);
        process.stdout.write(values.json ? `${JSON.stringify(run)}\n` : `${lineOf(run)}\n`);
      } finally {
        await cluster.close();
      }
    }
  }
  if (!values.json && values.only === undefined) process.stdout.write(ratioLine(runs));
}

/** Ours to etcd's, of the runs that came in pairs. */
function ratioLine(runs: readonly StarvedRun[]): string {
  const [base, head] = ["etcd", "blixard"].map((name) => runs.filter(({ side }) => side === name));
  const ratioOf = (value: (run: StarvedRun) => number) =>
    intervalText(
      medianInterval(ratios((base ?? []).map((run, at) => [value(run), value(head?.[at] ?? run)])), { seed: 1 }),
    );
  const [rate, gap] = [ratioOf(({ writesPerSecond }) => writesPerSecond), ratioOf((run) => run.longestGapMs)];
  return `\nblixard to etcd, median of the pairs [95 %]: writes/s ${rate}, longest gap ${gap}\n`;
}

/** Enough that a warm-up is one: those that are measured are few. */
const warmUpClients = 32;

/** Each client sends one write after the other, client n to node n modulo the number of nodes. */
async function measure(side: string, cluster: Side, options: StarvedOptions): Promise<StarvedRun> {
  const { durationMs } = options;
  const warmUpEndMs = performance.now() + options.warmUpMs;
  const warmUp = async (client: number) => {
    while (performance.now() < warmUpEndMs) {
      await cluster.put(client % cluster.pids().length, `warm/${client}`, valueText).catch(() => {});
    }
  };
  await Promise.all(Array.from({ length: warmUpClients }, (_, client) => warmUp(client)));
  const firstTerm = await cluster.term();
  const limit = limitCpu(cluster.pids(), options.percent);
  const lift = cleanAtEnd(() => limit.lift());
  const startedMs = performance.now();
  const endMs = startedMs + durationMs;
  let acknowledged = 0;
  let failures = 0;
  let lastMs = startedMs;
  let longestGapMs = 0;
  const loop = async (client: number) => {
    for (let n = 0; performance.now() < endMs; n++) {
      try {
        await cluster.put(client % cluster.pids().length, `starved/${client}/${n % 100}`, valueText);
        const nowMs = performance.now();
        longestGapMs = Math.max(longestGapMs, nowMs - lastMs);
        lastMs = nowMs;
        if (nowMs < endMs) acknowledged++;
      } catch {
        failures++;
      }
    }
  };
  await Promise.all(Array.from({ length: options.clients }, (_, client) => loop(client)));
  // Nothing may have been acknowledged any more.
  longestGapMs = Math.max(longestGapMs, endMs - lastMs);
  lift();
  const terms = (await cluster.term()) - firstTerm;
  const notes = cluster.notes();
  const writesPerSecond = (acknowledged * 1_000) / durationMs;
  return { side, how: limit.how, writesPerSecond, longestGapMs, terms, failures, notes };
}

function lineOf({ side, how, writesPerSecond, longestGapMs, terms, failures, notes }: StarvedRun): string {
  const cells = [
    side.padEnd(7),
    writesPerSecond.toFixed(1).padStart(8),
    longestGapMs.toFixed(0).padStart(14),
    String(terms).padStart(5),
    String(failures).padStart(6),
    how.padEnd(10),
    notes.join(", "),
  ];
  return cells.join("  ");
}
