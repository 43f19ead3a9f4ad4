/**
 * How many bytes an entry counts for. The numbers are part of the algorithm: they decide where a message is cut
 * and when a leader refuses a proposal, so every node and the scenario runner must count alike.
 */
import type { ConfChange, Entry } from "./types.ts";

/** What the fields beside the payload count for, in bytes. */
const headerBytes = 8;

/** Bytes of an entry as limits on messages, Readys and storage reads count it. */
export const entrySizeBytes = (entry: Entry): number =>
  headerBytes + (entry.kind === "normal" ? entry.data.length : 2 + 4 * entry.change.changes.length);

/** Bytes of what the proposer handed over. An empty entry and an empty change are free, so they always fit. */
export const payloadBytes = (entry: Entry): number =>
  entry.kind === "normal" ? entry.data.length : changePayloadBytes(entry.change);

export function entriesSizeBytes(entries: readonly Entry[]): number {
  let total = 0;
  for (const entry of entries) total += entrySizeBytes(entry);
  return total;
}

export function payloadsBytes(entries: readonly Entry[]): number {
  let total = 0;
  for (const entry of entries) total += payloadBytes(entry);
  return total;
}

const changePayloadBytes = ({ changes }: ConfChange): number => (changes.length === 0 ? 0 : 2 + 4 * changes.length);
