/**
 * A RaftStorage in memory, with the write side that a test driver needs.
 */
import { BlixardError } from "@blixard/common";
import { entrySizeBytes } from "../entry-size.ts";
import { before, noIndex, plus } from "../indexes.ts";
import type { RaftStorage } from "../raft-core.ts";
import { emptyConfState } from "../tracker.ts";
import {
  asLogIndex,
  asTerm,
  type ConfState,
  type Entry,
  type HardState,
  type LogIndex,
  noNode,
  type Snapshot,
  type Term,
} from "../types.ts";

const compacted = () => new BlixardError("COMPACTED", "the entry was compacted away");
const unavailable = () => new BlixardError("UNAVAILABLE", "the entry is not in the log yet");

export class MemoryStorage implements RaftStorage {
  hardState: HardState = { term: asTerm(0), vote: noNode, commit: noIndex };
  confState: ConfState = emptyConfState();
  /** What `snapshot` hands out; undefined means that none is at hand. */
  newestSnapshot: Snapshot | undefined;
  #base: { readonly index: LogIndex; readonly term: Term } = { index: noIndex, term: asTerm(0) };
  #entries: Entry[] = [];

  initialState() {
    return { hardState: this.hardState, confState: this.confState };
  }

  firstIndex(): LogIndex {
    return plus(this.#base.index, 1);
  }

  lastIndex(): LogIndex {
    return plus(this.#base.index, this.#entries.length);
  }

  term(index: LogIndex): Term {
    if (index < this.#base.index) throw compacted();
    if (index === this.#base.index) return this.#base.term;
    const entry = this.#entries[index - this.#base.index - 1];
    if (entry === undefined) throw unavailable();
    return entry.term;
  }

  entries(low: LogIndex, high: LogIndex, maxBytes: number): readonly Entry[] {
    if (low <= this.#base.index) throw compacted();
    if (high > plus(this.lastIndex(), 1)) throw unavailable();
    const found: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#entries.slice(low - this.#base.index - 1, high - this.#base.index - 1)) {
      bytes += entrySizeBytes(entry);
      if (found.length > 0 && bytes > maxBytes) break;
      found.push(entry);
    }
    return found;
  }

  snapshot(): Snapshot {
    if (this.newestSnapshot === undefined) {
      throw new BlixardError("SNAPSHOT_TEMPORARILY_UNAVAILABLE", "no snapshot is at hand");
    }
    return this.newestSnapshot;
  }

  /** All retained entries. */
  all(): readonly Entry[] {
    return this.#entries;
  }

  append(entries: readonly Entry[]): void {
    const [first] = entries;
    if (first === undefined) return;
    this.#entries.length = before(first.index) - this.#base.index;
    for (const entry of entries) this.#entries.push(entry);
  }

  applySnapshot(snapshot: Snapshot): void {
    this.#base = { index: snapshot.index, term: snapshot.term };
    this.#entries = [];
    this.confState = snapshot.confState;
    this.newestSnapshot = snapshot;
  }

  /** Forgets the entries up to `index`. */
  compact(index: LogIndex): void {
    const term = this.term(index);
    this.#entries = this.#entries.slice(index - this.#base.index);
    this.#base = { index: asLogIndex(index), term };
  }
}
