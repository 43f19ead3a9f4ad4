/** How many bytes of snapshots each peer may read: who reads the same state again and again keeps disk and network busy. */
import { type Clock, LeakyBucket } from "@blixard/common";
import { bulkLimits } from "./bulk-limits.ts";

const hourSeconds = 3_600;

export class SnapshotBudget {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #buckets = new Map<string, LeakyBucket>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Takes the bytes from the budget of a peer; false where it has not so many left. */
  takes(endpointId: string, bytes: number, wholeBytes: number): boolean {
    const { snapshotBytesPerHour, snapshotsPerHour, budgetsMax } = bulkLimits;
    const max = Math.max(snapshotBytesPerHour, snapshotsPerHour * wholeBytes);
    const bucket = this.#buckets.get(endpointId) ?? new LeakyBucket();
    // Who read last stands last, so that the first is the one who is forgotten where there are too many.
    this.#buckets.delete(endpointId);
    this.#buckets.set(endpointId, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > budgetsMax && oldest !== undefined) this.#buckets.delete(oldest);
    return bucket.takes(this.#clock.monotonicMs(), { max, perSecond: max / hourSeconds }, bytes);
  }
}
