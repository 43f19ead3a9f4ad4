/**
 * Bounds how often something may happen: what happens fills a bucket, which leaks all the time. The owner decides what becomes
 * of that for which there is no room.
 */
export interface BucketRate {
  /** What the bucket holds: so much may happen at once. */
  readonly max: number;
  /** How much leaks. */
  readonly perSecond: number;
}

export class LeakyBucket {
  #level = 0;
  #atMs = Number.NEGATIVE_INFINITY;

  /** How much may happen now; below 0 where more than the bucket holds was added. `nowMs` is of a clock that never goes back. */
  room(nowMs: number, { max, perSecond }: BucketRate): number {
    this.#level = Math.max(0, this.#level - ((nowMs - this.#atMs) * perSecond) / 1_000);
    this.#atMs = nowMs;
    return max - this.#level;
  }

  /** Adds all of `count` when there is room for it, else nothing. */
  takes(nowMs: number, rate: BucketRate, count = 1): boolean {
    if (this.room(nowMs, rate) < count) return false;
    this.#level += count;
    return true;
  }

  /** Adds in any case, also more than there is room for. */
  add(nowMs: number, rate: BucketRate, count = 1): void {
    this.room(nowMs, rate);
    this.#level += count;
  }
}
