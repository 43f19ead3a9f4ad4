/**
 * How many bytes an entry counts for. The numbers are part of the algorithm: they decide where a message is cut and
 * when a leader refuses a proposal, so every node must count alike. They are those of etcd's protobuf encoding, except
 * that the fields beside the payload always count 8 bytes (see docs/divergence.md).
 */
import type { ConfChange, Entry, NodeId } from "./types.ts";

/** What the fields beside the payload count for, in bytes. */
const headerBytes = 8;

/** Bytes of an entry as limits on messages, Readys and storage reads count it. */
export const entrySizeBytes = (entry: Entry): number =>
  headerBytes + (entry.kind === "normal" ? entry.data.length : confChangeBytes(entry.change));

/** Bytes of what the proposer handed over. An empty entry and an empty change are free, so they always fit. */
export function payloadBytes(entry: Entry): number {
  if (entry.kind === "normal") return entry.data.length;
  const { changes, context } = entry.change;
  return changes.length === 0 && context === undefined ? 0 : confChangeBytes(entry.change);
}

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

/** A protobuf field of one byte, or of an enum: its tag and its value. */
const smallFieldBytes = 2;
/** The tag of a field with a number below 16. */
const tagBytes = 1;

/**
 * Length of etcd's protobuf encoding (raftpb): ConfChange for version 1, which holds exactly one change and has an id
 * that stays 0, and ConfChangeV2, where each change is a message of its own, for everything else.
 */
export function confChangeBytes({ version, changes, context }: ConfChange): number {
  const contextBytes = context === undefined ? 0 : lengthDelimitedBytes(context.length);
  const [first] = changes;
  if (version === 1 && first !== undefined && changes.length === 1) {
    const idFieldBytes = smallFieldBytes;
    return idFieldBytes + changeBytes(first.id) + contextBytes;
  }
  const transitionBytes = smallFieldBytes;
  let total = transitionBytes + contextBytes;
  for (const { id } of changes) total += lengthDelimitedBytes(changeBytes(id));
  return total;
}

/** What is done, and with which node. */
const changeBytes = (id: NodeId): number => smallFieldBytes + tagBytes + varintBytes(id);

const lengthDelimitedBytes = (length: number): number => tagBytes + varintBytes(length) + length;

/** Seven bits to a byte. */
function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}
