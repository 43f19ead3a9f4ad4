/**
 * The tail of the log that storage does not have yet, and a snapshot that it has not applied yet. Entries stay here
 * while they are being written, so that a read never depends on a write that is under way.
 *
 *     offset            offsetInProgress           offset + length
 *       | being written       | not handed out yet       |
 *
 * Storage may hold older entries at or after `offset`; the next write replaces them.
 */
import { assert } from "@blixard/common";
import { entrySizeBytes } from "./entry-size.ts";
import { after, maxIndex, minIndex, plus } from "./indexes.ts";
import type { Entry, LogIndex, Snapshot, Term } from "./types.ts";

/** Entries that became stable may occupy this many slots before the array is copied to let them go. */
const deadSlotsMax = 1024;

const noEntries: readonly Entry[] = [];

export class Unstable {
  offset: LogIndex;
  #offsetInProgress: LogIndex;
  #snapshot: Snapshot | undefined;
  #snapshotInProgress = false;
  #entries: Entry[] = [];
  /** Slot of the entry at `offset`; the slots before it are dead. */
  #head = 0;

  constructor(offset: LogIndex) {
    this.offset = offset;
    this.#offsetInProgress = offset;
  }

  get length(): number {
    return this.#entries.length - this.#head;
  }

  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  /** The snapshot, unless it is being applied already. */
  get nextSnapshot(): Snapshot | undefined {
    return this.#snapshotInProgress ? undefined : this.#snapshot;
  }

  get firstIndex(): LogIndex | undefined {
    return this.#snapshot === undefined ? undefined : after(this.#snapshot.index);
  }

  get lastIndex(): LogIndex | undefined {
    if (this.length > 0) return plus(this.offset, this.length - 1);
    return this.#snapshot?.index;
  }

  get hasNextEntries(): boolean {
    return plus(this.offset, this.length) > this.#offsetInProgress;
  }

  /** The term of the entry or of the snapshot at `index`, if it is here. */
  termOf(index: LogIndex): Term | undefined {
    if (index >= this.offset) return this.#entries[this.#head + index - this.offset]?.term;
    return this.#snapshot?.index === index ? this.#snapshot.term : undefined;
  }

  /** A copy of the entries that were not handed out yet. */
  nextEntries(): readonly Entry[] {
    if (!this.hasNextEntries) return noEntries;
    return this.#entries.slice(this.#head + this.#offsetInProgress - this.offset);
  }

  /** Marks everything as handed out. */
  acceptInProgress(): void {
    this.#offsetInProgress = plus(this.offset, this.length);
    if (this.#snapshot !== undefined) this.#snapshotInProgress = true;
  }

  /**
   * Lets go of the entries up to `index`, which are durable with this term. Does nothing when the entry was replaced
   * meanwhile: then another write is on its way.
   */
  stableTo(index: LogIndex, term: Term): void {
    if (index < this.offset || this.termOf(index) !== term) return;
    this.#head += index + 1 - this.offset;
    this.offset = after(index);
    this.#offsetInProgress = maxIndex(this.#offsetInProgress, this.offset);
    if (this.length === 0) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head > deadSlotsMax && this.#head > this.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  stableSnapshotTo(index: LogIndex): void {
    if (this.#snapshot?.index !== index) return;
    this.#snapshot = undefined;
    this.#snapshotInProgress = false;
  }

  /** Starts anew behind a snapshot. */
  restore(snapshot: Snapshot): void {
    this.offset = after(snapshot.index);
    this.#offsetInProgress = this.offset;
    this.#entries = [];
    this.#head = 0;
    this.#snapshot = snapshot;
    this.#snapshotInProgress = false;
  }

  /** Appends `entries` from position `from` on, replacing what stands at or after the first of them. */
  truncateAndAppend(entries: readonly Entry[], from: number): void {
    const first = entries[from]?.index;
    if (first === undefined) return;
    const end = plus(this.offset, this.length);
    if (first > end) assert(false, `entries from ${first} leave a gap behind a log that ends before ${end}`);
    if (first <= this.offset) {
      this.offset = first;
      this.#offsetInProgress = first;
      this.#entries = [];
      this.#head = 0;
    } else if (first < end) {
      this.#entries.length = this.#head + first - this.offset;
      this.#offsetInProgress = minIndex(this.#offsetInProgress, first);
    }
    for (let at = from; at < entries.length; at++) this.#entries.push(entries[at] as Entry);
  }

  /** A copy of [low, high), at least one entry, cut where the sizes would exceed `bytesMax`. */
  slice(low: LogIndex, high: LogIndex, bytesMax: number): Entry[] {
    const inLog = low >= this.offset && high <= this.offset + this.length;
    if (!inLog) assert(false, `[${low}, ${high}) is not in the unstable log`);
    const start = this.#head + low - this.offset;
    let end = this.#head + high - this.offset;
    if (bytesMax !== Number.POSITIVE_INFINITY) {
      let bytes = 0;
      for (let at = start; at < end; at++) {
        bytes += entrySizeBytes(this.#entries[at] as Entry);
        if (bytes > bytesMax && at > start) end = at;
      }
    }
    return this.#entries.slice(start, end);
  }
}
