/** What `docs/performance.md` says that was measured: regions between two marks, made from the records beside the page. */
import type { PairRecord } from "../pairs/pair-record.ts";
import { summarize } from "../pairs/pair-summary.ts";
import { intervalText, times } from "../pairs/pair-table.ts";
import { type Shape, shapeName } from "../pairs/shapes.ts";
import type { FailoverRecord } from "../versus/failover-record.ts";
import { type LineSeries, linePlot, ratioPlot } from "./svg-plot.ts";

export type PageRecord = PairRecord | FailoverRecord;
export type RecordKind = PageRecord["kind"];

export interface Plot {
  /** Beside the records. */
  readonly file: string;
  readonly svg: string;
}

const nothing = "Nothing is recorded yet.\n";
/** Of the minute before: more, and others were at work. */
const quietLoadMax = 0.5;

/** The page with its regions made anew, and the plots that it shows. */
export function writePage(
  page: string,
  records: readonly PageRecord[],
): { readonly page: string; readonly plots: readonly Plot[] } {
  const plots: Plot[] = [];
  let written = page;
  for (const kind of ["versus", "floor", "failover", "compare"] as const) {
    const parts = records
      .filter((record) => record.kind === kind)
      .map((record, at) => (record.kind === "failover" ? failoverPart(record) : pairPart(record, at + 1, plots)));
    written = replaceRegion(written, kind, parts.length === 0 ? nothing : parts.join("\n"));
  }
  return { page: written, plots };
}

/** @throws when the page has no such region */
export function replaceRegion(page: string, kind: RecordKind, content: string): string {
  const [begin, end] = [`<!-- ${kind}: written by the benchmark -->\n`, `<!-- end of ${kind} -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the page has no region '${begin.trim()}'`);
  return `${page.slice(0, from + begin.length)}\n${content}\n${page.slice(to)}`;
}

/** A record takes the place of an earlier one that measured the same. */
export function mergeRecord<Kept extends PageRecord>(records: readonly Kept[], added: Kept): Kept[] {
  const subject = subjectOf(added);
  return [...records.filter((record) => subjectOf(record) !== subject), added];
}

function subjectOf(record: PageRecord): string {
  if (record.kind === "failover") return JSON.stringify([record.kind, record.nodes, record.transport]);
  const { kind, base, settings, options } = record;
  const shapes = settings.map(({ setting, shapes: of }) => [setting, of.map(({ shape }) => shape)]);
  return JSON.stringify([kind, kind === "compare" ? base : "", shapes, options.uniqueKeys]);
}

/** Without the distribution of latencies, which a page does not show and which is most of a record. */
export function recordForPage(record: PairRecord): PairRecord {
  const slim = <Sample extends object>(sample: Sample): Sample => ({ ...sample, latencyBuckets: [] });
  const settings = record.settings.map((setting) => ({
    ...setting,
    shapes: setting.shapes.map((result) => ({
      ...result,
      pairs: result.pairs.map(({ base, head }) => ({ base: slim(base), head: slim(head) })),
    })),
  }));
  return { ...record, settings };
}

function pairPart(record: PairRecord, number: number, plots: Plot[]): string {
  const { base, head, settings, kind, options } = record;
  const parts: string[] = [circumstancesText(record)];
  for (const { setting, shapes: measured, readBacks } of settings) {
    // JSON has no NaN for what no pair tells, so the summaries are made anew.
    const shapes = measured.map((result) => ({ ...result, summary: summarize(result.pairs, options.seed) }));
    const where = `${setting.nodes} node${setting.nodes === 1 ? "" : "s"} over ${setting.transport}`;
    const keys = options.uniqueKeys ? "unique keys" : `${options.keysPerClient} keys a client`;
    parts.push(`**${where}, ${keys}, rounds of ${options.durationMs / 1_000} s**\n`);
    const header = `| load | ${base}/s (p50 / p99 ms, CPU us) | ${head}/s (p50 / p99 ms, CPU us) | ratio [95 %] | p99 | CPU | disk, wire bytes a write | pairs |`;
    const rows = shapes.map(({ shape, summary }) => {
      const side = (of: typeof summary.base) =>
        summary.pairs === 0
          ? "-"
          : `${of.perSecond.toFixed(0)} (${of.p50Ms.toFixed(1)} / ${of.p99Ms.toFixed(1)}, ${of.cpuUsPerOperation.toFixed(0)})`;
      const bytes = (of: typeof summary.base) =>
        `${wholeOrDash(of.diskBytesPerWrite)}, ${wholeOrDash(of.wireBytesPerWrite)}`;
      const pairs = summary.voidPairs === 0 ? String(summary.pairs) : `${summary.pairs}, ${summary.voidPairs} void`;
      const cells = [shapeName(shape), side(summary.base), side(summary.head), intervalText(summary.rate)];
      cells.push(times(summary.p99.median), times(summary.cpu.median));
      cells.push(`${bytes(summary.base)}; ${bytes(summary.head)}`, pairs);
      return `| ${cells.join(" | ")} |`;
    });
    parts.push([header, "|---|---|---|---|---|---|---|---|", ...rows, ""].join("\n"));
    const name = `${kind}-${number}-${setting.transport}-${setting.nodes}`;
    const ratioRows = shapes.map(({ shape, summary }) => ({ label: shapeName(shape), ...summary.rate }));
    plots.push({ file: `${name}-ratio.svg`, svg: ratioPlot(`${head} to ${base}: rate, ${where}`, ratioRows) });
    parts.push(`![Ratios of the rate, ${where}](performance/${name}-ratio.svg)\n`);
    const series = seriesOf(record, shapes);
    if (series.some(({ points }) => points.length > 1)) {
      const axes = { x: "clients", y: "operations a second" };
      plots.push({ file: `${name}-rate.svg`, svg: linePlot(`Rate by clients, ${where}`, axes, series) });
      parts.push(`![Rate by clients, ${where}](performance/${name}-rate.svg)\n`);
    }
    const ends = readBacks.map(
      ({ side, acknowledgedKeys, lost, restartSeconds }) =>
        `${side} was writable again after ${restartSeconds.toFixed(1)} s and had lost ${lost} of ${acknowledgedKeys} keys`,
    );
    parts.push(`All processes were killed at the end: ${ends.join("; ")}.\n`);
  }
  return parts.join("\n");
}

/** One line for each side and each kind of load that was measured with several numbers of clients. */
function seriesOf({ base, head }: PairRecord, shapes: PairRecord["settings"][number]["shapes"]): LineSeries[] {
  const lineName = ({ kind, valueBytes, where }: Shape) =>
    `${kind} ${valueBytes} B${where === "all" ? "" : ` ${where}`}`;
  const names = [...new Set(shapes.map(({ shape }) => lineName(shape)))];
  return names.flatMap((name) => {
    const own = shapes.filter(({ shape, summary }) => lineName(shape) === name && summary.pairs > 0);
    const line = (side: "base" | "head") =>
      own.map(({ shape, summary }) => [shape.clients, summary[side].perSecond] as const).toSorted(([a], [b]) => a - b);
    return [
      { name: `${base} ${name}`, points: line("base") },
      { name: `${head} ${name}`, points: line("head") },
    ];
  });
}

function failoverPart(record: FailoverRecord): string {
  const rows = record.sides.map(
    ({ side, gapsMs, medianMs, maxMs, terms }) =>
      `| ${side} | ${gapsMs.length} | ${medianMs.toFixed(0)} | ${maxMs.toFixed(0)} | ${terms} |`,
  );
  const header = ["| cluster | kills of the leader | median gap, ms | longest, ms | terms |", "|---|---|---|---|---|"];
  return [
    circumstancesText(record),
    `**${record.nodes} nodes over ${record.transport}**\n`,
    ...header,
    ...rows,
    "",
  ].join("\n");
}

function circumstancesText({ circumstances }: PageRecord): string {
  const { startedAt, commit, node, cpu, cores, loadAverage, fsyncPerSecond } = circumstances;
  const said =
    `Commit ${commit}, ${startedAt.slice(0, 10)}, Node.js ${node}, ${cores} cores (${cpu}), ${fsyncPerSecond} fdatasyncs a ` +
    "second one after the other.";
  const busy = `**The machine was busy with other things (load ${loadAverage}): a trial of the instrument, to be repeated in quiet.**`;
  return `${said}${loadAverage > quietLoadMax ? ` ${busy}` : ""}\n`;
}

function wholeOrDash(value: number | null): string {
  return value === null ? "-" : value.toFixed(0);
}
