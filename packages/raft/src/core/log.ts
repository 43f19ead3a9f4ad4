/**
 * The log as the algorithm sees it: what storage has, continued by the unstable tail.
 *
 *     firstIndex ... applied ... applying ... committed ... lastIndex
 *
 * A term or a range that was compacted away, or is not there yet, is `undefined`: that is a normal answer here.
 */
import { assert, assertSafeInteger, errorCodeOf } from "@blixard/common";
import { entriesSizeBytes, entrySizeBytes } from "./entry-size.ts";
import { after, before, maxIndex, minIndex, noIndex, plus } from "./indexes.ts";
import type { RaftStorage } from "./raft-core.ts";
import type { Entry, LogIndex, Snapshot, Term } from "./types.ts";
import { Unstable } from "./unstable.ts";

const noEntries: readonly Entry[] = [];

/** Bytes of entries that a scan holds at once. */
const scanPageBytes = 1 << 20;

interface ReadRange {
  readonly low: LogIndex;
  readonly high: LogIndex;
  readonly bytesMax: number;
  readonly entries: readonly Entry[];
}

export class RaftLog {
  readonly unstable: Unstable;
  /** Known to be durable on a quorum. */
  committed: LogIndex;
  /** Applied by the state machine. */
  applied: LogIndex;
  /** Handed to the state machine, which may still be at work. */
  applying: LogIndex;
  readonly #storage: RaftStorage;
  readonly #applyingBytesMax: number;
  #applyingBytes = 0;
  #applyingPaused = false;
  /** The last range that was read for a peer: the others mostly need the same one. */
  #lastRead: ReadRange | undefined;

  constructor(storage: RaftStorage, applyingBytesMax: number) {
    this.#storage = storage;
    this.#applyingBytesMax = applyingBytesMax;
    const firstIndex = storage.firstIndex();
    const lastIndex = storage.lastIndex();
    assertSafeInteger(firstIndex, "the first index of the log");
    assertSafeInteger(lastIndex, "the last index of the log");
    this.unstable = new Unstable(after(lastIndex));
    this.committed = before(firstIndex);
    this.applied = this.committed;
    this.applying = this.committed;
  }

  get firstIndex(): LogIndex {
    return this.unstable.firstIndex ?? this.#storage.firstIndex();
  }

  get lastIndex(): LogIndex {
    return this.unstable.lastIndex ?? this.#storage.lastIndex();
  }

  get lastTerm(): Term {
    const term = this.termOf(this.lastIndex);
    assert(term !== undefined, "the term of the last entry is not known");
    return term;
  }

  /** The term at `index`. It is known from the entry before the first one up to the last one. */
  termOf(index: LogIndex): Term | undefined {
    const unstableTerm = this.unstable.termOf(index);
    if (unstableTerm !== undefined) return unstableTerm;
    if (after(index) < this.firstIndex || index > this.lastIndex) return undefined;
    return absentAsUndefined(() => this.#storage.term(index));
  }

  matches(index: LogIndex, term: Term): boolean {
    return this.termOf(index) === term;
  }

  /** Whether a log that ends with this entry holds everything that ours may have committed (paper section 5.4.1). */
  isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {
    const ours = this.lastTerm;
    return lastTerm > ours || (lastTerm === ours && lastIndex >= this.lastIndex);
  }

  /** Position of the first entry that is new or differs from ours, or -1 when we have all of them. */
  findConflict(entries: readonly Entry[]): number {
    const last = this.lastIndex;
    for (let at = 0; at < entries.length; at++) {
      const { index, term } = entries[at] as Entry;
      if (index > last || !this.matches(index, term)) return at;
    }
    return -1;
  }

  /**
   * The highest index at or below `index` whose term is not above `term`: of the other log only this one entry is
   * known, and the two logs cannot agree on anything behind the index that this returns. An unknown term counts as a
   * match.
   */
  findConflictByTerm(index: LogIndex, term: Term): LogIndex {
    for (let guess = index; guess > 0; guess = before(guess)) {
      const ours = this.termOf(guess);
      if (ours === undefined || ours <= term) return guess;
    }
    return noIndex;
  }

  /** Appends from position `from` on; returns the new last index. Committed entries are never replaced. */
  append(entries: readonly Entry[], from = 0): LogIndex {
    const first = entries[from];
    if (first !== undefined) {
      this.#lastRead = undefined;
      if (first.index <= this.committed) assert(false, `entry ${first.index} would replace a committed one`);
      this.unstable.truncateAndAppend(entries, from);
    }
    return this.lastIndex;
  }

  /** Raises the commit index, never lowers it. */
  commitTo(index: LogIndex): void {
    if (index <= this.committed) return;
    if (index > this.lastIndex) assert(false, `commit index ${index} is behind the end of the log`);
    this.committed = index;
  }

  /** Commits up to `index` if that entry is of `term`: earlier terms commit only with it (paper section 5.4.2). */
  maybeCommit(index: LogIndex, term: Term): boolean {
    if (term === 0 || index <= this.committed || !this.matches(index, term)) return false;
    this.commitTo(index);
    return true;
  }

  /**
   * Entries from `low` to the end, at least one, within `bytesMax`; undefined when they were compacted. Callers
   * share the array.
   */
  entriesFrom(low: LogIndex, bytesMax: number): readonly Entry[] | undefined {
    const high = after(this.lastIndex);
    if (low >= high) return noEntries;
    const read = this.#lastRead;
    if (read?.low === low && read.high === high && read.bytesMax === bytesMax) return read.entries;
    const entries = this.slice(low, high, bytesMax);
    this.#lastRead = entries && { low, high, bytesMax, entries };
    return entries;
  }

  /** Entries of [low, high), at least one, within `bytesMax`; undefined when they were compacted. */
  slice(low: LogIndex, high: LogIndex, bytesMax: number): readonly Entry[] | undefined {
    if (low > high || high > after(this.lastIndex)) assert(false, `[${low}, ${high}) is not in the log`);
    if (low < this.firstIndex) return undefined;
    if (low === high) return noEntries;
    const { unstable } = this;
    if (low >= unstable.offset) return unstable.slice(low, high, bytesMax);

    const cut = minIndex(high, unstable.offset);
    const stable = absentAsUndefined(() => this.#storage.entries(low, cut, bytesMax));
    // A read that storage cut short has reached the limit.
    if (stable === undefined || high <= unstable.offset || stable.length < cut - low) return stable;
    const room = bytesMax - entriesSizeBytes(stable);
    if (room <= 0) return stable;
    const rest = unstable.slice(unstable.offset, high, room);
    const first = rest[0];
    if (rest.length === 1 && first !== undefined && entrySizeBytes(first) > room) return stable;
    return stable.concat(rest);
  }

  /** The newest snapshot, or undefined while storage has none at hand. */
  snapshot(): Snapshot | undefined {
    const snapshot = this.unstable.snapshot ?? absentAsUndefined(() => this.#storage.snapshot());
    return snapshot === undefined || snapshot.index === 0 ? undefined : snapshot;
  }

  /** Starts anew behind a snapshot. All entries that a snapshot stands for are committed. */
  restore(snapshot: Snapshot): void {
    this.#lastRead = undefined;
    this.committed = snapshot.index;
    this.unstable.restore(snapshot);
  }

  /** Whether committed entries wait. With `allowUnstable`, even those that are not durable here. */
  hasNextCommitted(allowUnstable: boolean): boolean {
    // A snapshot is applied alone, so that there is no order of snapshot and entries to get wrong.
    if (this.#applyingPaused || this.unstable.snapshot !== undefined) return false;
    return this.applying < this.#appliableIndex(allowUnstable);
  }

  nextCommitted(allowUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommitted(allowUnstable)) return noEntries;
    const room = this.#applyingBytesMax - this.#applyingBytes;
    const entries = this.slice(after(this.applying), after(this.#appliableIndex(allowUnstable)), room);
    assert(entries !== undefined, "entries were compacted before they were applied");
    return entries;
  }

  /** Notes that the entries up to `index` were handed to the state machine. */
  acceptApplying(index: LogIndex, bytes: number, allowUnstable: boolean): void {
    if (index > this.committed) assert(false, `entry ${index} is applied before it is committed`);
    this.applying = index;
    this.#applyingBytes += bytes;
    // A batch that ends early was cut by the limit; the next entry would exceed it too.
    this.#applyingPaused = this.#applyingBytes >= this.#applyingBytesMax || index < this.#appliableIndex(allowUnstable);
  }

  /** Notes that the state machine has applied everything up to `index`. */
  appliedTo(index: LogIndex, bytes: number): void {
    if (index > this.committed || index < this.applied) assert(false, `applied index ${index} is out of range`);
    this.applied = index;
    this.applying = maxIndex(this.applying, index);
    this.#applyingBytes = Math.max(0, this.#applyingBytes - bytes);
    this.#applyingPaused = this.#applyingBytes >= this.#applyingBytesMax;
  }

  /** Whether a committed entry that was not applied yet satisfies `matches`. Reads in pages. */
  someUnapplied(matches: (entry: Entry) => boolean): boolean {
    const high = after(this.committed);
    for (let low = after(this.applied); low < high; ) {
      const page = this.slice(low, high, Math.min(scanPageBytes, this.#applyingBytesMax));
      assert(page !== undefined && page.length > 0, "committed entries are missing from the log");
      if (page.some(matches)) return true;
      low = plus(low, page.length);
    }
    return false;
  }

  #appliableIndex(allowUnstable: boolean): LogIndex {
    return allowUnstable ? this.committed : minIndex(this.committed, before(this.unstable.offset));
  }
}

const absentCodes: ReadonlySet<string | undefined> = new Set([
  "COMPACTED",
  "UNAVAILABLE",
  "SNAPSHOT_TEMPORARILY_UNAVAILABLE",
]);

function absentAsUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (absentCodes.has(errorCodeOf(error))) return undefined;
    throw error;
  }
}
