/** How many bytes of snapshots each peer may read: who reads the same state again and again keeps disk and network busy. */
import type { Clock } from "@blixard/common";
import { bulkLimits } from "./bulk-limits.ts";

/** What was read by a peer and is not forgiven yet. */
interface Level {
  usedBytes: number;
  atMs: number;
}

const hourMs = 3_600_000;

export class SnapshotBudget {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #levels = new Map<string, Level>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Takes the bytes from the budget of a peer; false where it has not so many left. */
  takes(endpointId: string, bytes: number, wholeBytes: number): boolean {
    const { snapshotBytesPerHour, snapshotsPerHour, budgetsMax } = bulkLimits;
    const perHour = Math.max(snapshotBytesPerHour, snapshotsPerHour * wholeBytes);
    const nowMs = this.#clock.monotonicMs();
    const { usedBytes: before, atMs } = this.#levels.get(endpointId) ?? { usedBytes: 0, atMs: nowMs };
    const usedBytes = Math.max(0, before - ((nowMs - atMs) / hourMs) * perHour);
    const isEnough = usedBytes + bytes <= perHour;
    // Who read last stands last, so that the first is the one who is forgotten where there are too many.
    this.#levels.delete(endpointId);
    this.#levels.set(endpointId, { usedBytes: isEnough ? usedBytes + bytes : usedBytes, atMs: nowMs });
    const [oldest] = this.#levels.keys();
    if (this.#levels.size > budgetsMax && oldest !== undefined) this.#levels.delete(oldest);
    return isEnough;
  }
}
