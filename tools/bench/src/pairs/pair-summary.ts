/** What pairs of rounds say about a shape of load. A pair with a failed request on either side does not count. */
import { type MedianInterval, medianInterval, ratios } from "../statistics/bootstrap.ts";
import { median } from "../statistics/medians.ts";
import type { RoundSample } from "./measure-round.ts";

export interface SamplePair {
  readonly base: RoundSample;
  readonly head: RoundSample;
}

export interface SideSummary {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly cpuUsPerOperation: number;
  readonly rssMiB: number;
  readonly diskBytesPerWrite: number | null;
  readonly wireBytesPerWrite: number | null;
}

export interface PairSummary {
  readonly base: SideSummary;
  readonly head: SideSummary;
  readonly pairs: number;
  readonly voidPairs: number;
  /** Of head to base in each pair: more is better for the rate, less for all others. */
  readonly rate: MedianInterval;
  readonly p50: MedianInterval;
  readonly p99: MedianInterval;
  readonly cpu: MedianInterval;
}

export function summarize(pairs: readonly SamplePair[], seed: number): PairSummary {
  const counted = pairs.filter(({ base, head }) => !isVoid(base) && !isVoid(head));
  const ratioOf = (value: (sample: RoundSample) => number) =>
    medianInterval(ratios(counted.map(({ base, head }) => [value(base), value(head)] as const)), { seed });
  return {
    base: summarizeSide(counted.map(({ base }) => base)),
    head: summarizeSide(counted.map(({ head }) => head)),
    pairs: counted.length,
    voidPairs: pairs.length - counted.length,
    rate: ratioOf(({ perSecond }) => perSecond),
    p50: ratioOf(({ p50Ms }) => p50Ms),
    p99: ratioOf(({ p99Ms }) => p99Ms),
    cpu: ratioOf(({ cpuUsPerOperation }) => cpuUsPerOperation),
  };
}

function isVoid({ failures, operations }: RoundSample): boolean {
  return failures > 0 || operations === 0;
}

function summarizeSide(samples: readonly RoundSample[]): SideSummary {
  const of = (value: (sample: RoundSample) => number) => median(samples.map(value));
  const ofSome = (value: (sample: RoundSample) => number | undefined) => {
    const values = samples.flatMap((sample) => value(sample) ?? []);
    return values.length === 0 ? null : median(values);
  };
  return {
    perSecond: of(({ perSecond }) => perSecond),
    p50Ms: of(({ p50Ms }) => p50Ms),
    p99Ms: of(({ p99Ms }) => p99Ms),
    p999Ms: of(({ p999Ms }) => p999Ms),
    cpuUsPerOperation: of(({ cpuUsPerOperation }) => cpuUsPerOperation),
    rssMiB: of(({ nodes }) => Math.max(...nodes.map(({ rssMiB }) => rssMiB))),
    diskBytesPerWrite: ofSome(({ diskBytesPerWrite }) => diskBytesPerWrite),
    wireBytesPerWrite: ofSome(({ wireBytesPerWrite }) => wireBytesPerWrite),
  };
}
