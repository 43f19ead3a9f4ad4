/** What the kills of leaders leave behind. */
import type { Circumstances } from "../pairs/pair-record.ts";

export interface SideGaps {
  readonly side: string;
  /** One for each kill. */
  readonly gapsMs: readonly number[];
  readonly medianMs: number;
  readonly maxMs: number;
  /** That passed meanwhile; each kill needs at least one. */
  readonly terms: number;
}

export interface FailoverRecord {
  readonly format: 1;
  readonly kind: "failover";
  readonly circumstances: Circumstances;
  readonly nodes: number;
  readonly transport: string;
  readonly sides: readonly SideGaps[];
}
