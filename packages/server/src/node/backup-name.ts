import type { Clock } from "@blixard/common";

/** `backup-20260131T101530123Z`: sorts by time, and is a valid name everywhere. */
export function backupName(clock: Clock): string {
  return `backup-${new Date(clock.unixMs()).toISOString().replace(/[-:.]/g, "")}`;
}
