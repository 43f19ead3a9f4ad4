/** Latencies of one run in milliseconds. */
export class LatencySample {
  readonly #values: number[] = [];

  add(milliseconds: number): void {
    this.#values.push(milliseconds);
  }

  get count(): number {
    return this.#values.length;
  }

  /** The smallest value that at least `share` (0 to 1) of all values do not exceed; NaN for an empty sample. */
  quantile(share: number): number {
    if (this.#values.length === 0) return Number.NaN;
    const sorted = this.#values.toSorted((a, b) => a - b);
    const rank = Math.max(0, Math.ceil(share * sorted.length) - 1);
    return sorted[rank] ?? Number.NaN;
  }
}
