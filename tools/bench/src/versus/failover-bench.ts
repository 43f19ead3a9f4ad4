/**
 * `npm run bench -- versus failover [--kills 20] [--nodes 3] [--transport iroh] [--etcd PATH] [--only blixard|etcd]
 * [--json] [--out FILE] [--write-docs]`:
 * the leader of each side is killed in turn while writes go on at a steady pace, and the longest time without an
 * acknowledged one is measured. Each leader is started again before the next is killed.
 */
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { tableOf } from "../bench-row.ts";
import { publish, publishFlags } from "../page/publish.ts";
import { circumstances } from "../pairs/pair-record.ts";
import { binary } from "../sides/binary.ts";
import { startBlixard } from "../sides/blixard-side.ts";
import { etcdMissing, etcdVersion, startEtcd } from "../sides/etcd-side.ts";
import type { Side } from "../sides/side.ts";
import { median } from "../statistics/medians.ts";
import type { SideGaps } from "./failover-record.ts";
import { longestGapMs, ProbeWrites } from "./probe-writes.ts";

/** Of writes that are acknowledged, before the kill and after the gap; as many as show a second gap of an election that failed. */
const steadyMs = 1_500;
const gapMsMax = 60_000;
const pollMs = 20;
/** Of both sides together, roughly. */
const killSeconds = 16;

export async function runFailoverBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      kills: { type: "string", default: "20" },
      nodes: { type: "string", default: "3" },
      transport: { type: "string", default: "iroh" },
      etcd: { type: "string", default: "etcd" },
      only: { type: "string" },
      ...publishFlags,
    },
  });
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);
  const nodes = Number(values.nodes);
  if (values.only !== "blixard" && etcdVersion(values.etcd) === undefined) {
    say(`${etcdMissing(values.etcd)}. Or measure ours alone: --only blixard`);
    process.exitCode = 69;
    return;
  }
  const before = circumstances();
  say(`${values.kills} kills of the leader: about ${Math.ceil((Number(values.kills) * killSeconds) / 60)} minutes`);
  const sides: Side[] = [];
  try {
    if (values.only !== "blixard") sides.push(await startEtcd({ binary: values.etcd, nodes, onProgress: say }));
    if (values.only !== "etcd") {
      sides.push(await startBlixard({ binary, nodes, transport: values.transport, onProgress: say }));
    }
    const results = await killInTurn(sides, Number(values.kills), say);
    const about = { circumstances: before, nodes, transport: values.transport };
    publish({ format: 1, kind: "failover", ...about, sides: results }, tableOfGaps(results), values);
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}

async function killInTurn(sides: readonly Side[], kills: number, say: (text: string) => void): Promise<SideGaps[]> {
  const gaps = sides.map((): number[] => []);
  const terms = await Promise.all(sides.map((side) => side.term()));
  for (let kill = 1; kill <= kills; kill++) {
    for (const [at, side] of sides.entries()) gaps[at]?.push(await measureGap(side));
    const now = sides.map(({ name }, at) => `${name} ${gaps[at]?.at(-1)?.toFixed(0)} ms`);
    say(`kill ${kill} of ${kills}: ${now.join(", ")}`);
  }
  return await Promise.all(
    sides.map(async (side, at) => {
      const gapsMs = gaps[at] ?? [];
      const passed = (await side.term()) - (terms[at] ?? 0);
      return { side: side.name, gapsMs, medianMs: median(gapsMs), maxMs: Math.max(...gapsMs), terms: passed };
    }),
  );
}

/** Kills the leader once. A minute stands for a gap that did not end within one. */
async function measureGap(side: Side): Promise<number> {
  const probes = new ProbeWrites(side);
  try {
    await until(() => (probes.acknowledgedMs.at(-1) ?? 0) - (probes.acknowledgedMs[0] ?? 0) >= steadyMs);
    const leader = await side.leader();
    const killedMs = performance.now();
    probes.skip(leader);
    await side.kill(leader);
    const isSteady = () => steadySinceMs(probes.acknowledgedMs, killedMs) >= steadyMs;
    const recovered = await until(isSteady);
    const gapMs = recovered ? longestGapMs(probes.acknowledgedMs, killedMs) : gapMsMax;
    probes.stop();
    await side.restart([leader]);
    return gapMs;
  } finally {
    probes.stop();
  }
}

const gapMsMin = 200;

/** For how long writes go on after the gap; 0 while they have not come to an end, or not begun again. */
function steadySinceMs(acknowledgedMs: readonly number[], killedMs: number): number {
  for (let at = acknowledgedMs.length - 1; at > 0; at--) {
    const [before = 0, after = 0] = acknowledgedMs.slice(at - 1, at + 1);
    if (after < killedMs) break;
    if (after - before >= gapMsMin) return (acknowledgedMs.at(-1) ?? 0) - after;
  }
  // An election may be over before the pace shows it: then there is no gap to wait for.
  return (acknowledgedMs.at(-1) ?? 0) - killedMs - 2 * steadyMs;
}

async function until(holds: () => boolean): Promise<boolean> {
  const endMs = performance.now() + gapMsMax;
  while (!holds()) {
    if (performance.now() > endMs) return false;
    await sleep(pollMs);
  }
  return true;
}

function tableOfGaps(results: readonly SideGaps[]): string {
  const cells = results.map(({ side, gapsMs, medianMs, maxMs, terms }) => [
    ...[
      side,
      String(gapsMs.length),
      medianMs.toFixed(0),
      Math.min(...gapsMs).toFixed(0),
      maxMs.toFixed(0),
      String(terms),
    ],
  ]);
  return `\n${tableOf(["CLUSTER", "KILLS", "MEDIAN MS", "MIN MS", "MAX MS", "TERMS"], cells)}`;
}
