/** Comparisons as text for people. */
import { tableOf } from "../bench-row.ts";
import type { MedianInterval } from "../statistics/bootstrap.ts";
import type { PairRecord } from "./pair-record.ts";
import type { SideSummary } from "./pair-summary.ts";
import { shapeName } from "./shapes.ts";

export function tableOfPairs({ base, head, settings, circumstances }: PairRecord): string {
  const named = (name: string) => name.toUpperCase();
  const header = ["LOAD", `${named(base)}/S`, "P50/P99 MS", "CPU US", `${named(head)}/S`, "P50/P99 MS", "CPU US"];
  header.push("RATIO [95 %]", "P99", "CPU", "PAIRS");
  const lines: string[] = [];
  for (const { setting, shapes, readBacks } of settings) {
    const cells = shapes.map(({ shape, summary }) => [
      ...[shapeName(shape), ...sideCells(summary.base), ...sideCells(summary.head)],
      ...[intervalText(summary.rate), times(summary.p99.median), times(summary.cpu.median)],
      summary.voidPairs === 0 ? String(summary.pairs) : `${summary.pairs}, ${summary.voidPairs} void`,
    ]);
    lines.push(`\n${setting.nodes} node${setting.nodes === 1 ? "" : "s"} of each, ours over ${setting.transport}\n`);
    lines.push(tableOf(header, cells));
    for (const { side, acknowledgedKeys, lost, restartSeconds } of readBacks) {
      const verdict = lost === 0 ? "all hold what was acknowledged" : `${lost} DO NOT HOLD what was acknowledged`;
      lines.push(
        `${side}: killed and started again in ${restartSeconds.toFixed(1)} s; of ${acknowledgedKeys} keys ${verdict}\n`,
      );
    }
  }
  const { cores, cpu, loadAverage, fsyncPerSecond } = circumstances;
  lines.push(
    `\nRatios are of ${head} to ${base} within each pair, with the 95 % interval of their median. ${cores} cores (${cpu}), ` +
      `load ${loadAverage} before the start, ${fsyncPerSecond} fdatasyncs a second one after the other.\n`,
  );
  return lines.join("");
}

/** Acknowledged writes that a side lost, over all settings. */
export function lostOf({ settings }: PairRecord): number {
  return settings.flatMap(({ readBacks }) => readBacks).reduce((sum, { lost }) => sum + lost, 0);
}

function sideCells({ perSecond, p50Ms, p99Ms, cpuUsPerOperation }: SideSummary): string[] {
  return [perSecond.toFixed(0), `${p50Ms.toFixed(1)}/${p99Ms.toFixed(1)}`, cpuUsPerOperation.toFixed(0)];
}

export function intervalText({ median, low, high }: MedianInterval): string {
  return Number.isNaN(median) ? "-" : `${times(median)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;
}

export function times(ratio: number): string {
  return Number.isNaN(ratio) ? "-" : `${ratio.toFixed(2)}x`;
}
