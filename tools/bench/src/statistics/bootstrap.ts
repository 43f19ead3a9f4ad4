/** How sure a median of few values is: the percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 13.3). */
import { seededRandom } from "@blixard/common";
import { median } from "./medians.ts";

export interface MedianInterval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** How many values it is made of. */
  readonly count: number;
}

interface BootstrapOptions {
  readonly seed: number;
  /** Default: 2,000. */
  readonly resamples?: number;
  /** The part of all resamples that the interval holds. Default: 0.95. */
  readonly share?: number;
}

/** The same values and seed give the same interval. NaN three times for no values. */
export function medianInterval(values: readonly number[], options: BootstrapOptions): MedianInterval {
  const { seed, resamples = 2_000, share = 0.95 } = options;
  const count = values.length;
  const random = seededRandom(seed);
  const draw = () => values[Math.floor(random.next() * count)] ?? Number.NaN;
  const medians = Array.from({ length: resamples }, () => median(Array.from({ length: count }, draw)));
  medians.sort((a, b) => a - b);
  const outside = Math.floor(((1 - share) / 2) * resamples);
  return {
    median: median(values),
    low: medians[outside] ?? Number.NaN,
    high: medians[resamples - 1 - outside] ?? Number.NaN,
    count,
  };
}

/** Each value of the second side by its partner of the first. */
export function ratios(pairs: readonly (readonly [base: number, head: number])[]): number[] {
  return pairs.map(([base, head]) => head / base);
}
