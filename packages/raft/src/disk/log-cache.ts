/**
 * The retained log in memory: what the core reads, without waiting. It holds what is durable; entries that are being
 * written are in the core. Its size is bounded in bytes by the applier.
 */
import { assert } from "@blixard/common";
import { entriesSizeBytes, entrySizeBytes } from "../core/entry-size.ts";
import { RaftError } from "../core/errors.ts";
import type { RaftStorage } from "../core/raft-core.ts";
import {
  asLogIndex,
  type ConfChange,
  type ConfState,
  type Entry,
  type HardState,
  type LogIndex,
  type Snapshot,
  type Term,
} from "../core/types.ts";
import type { LogContents, SnapshotMeta } from "../ports.ts";

const noBytes = new Uint8Array(0);

export class LogCache implements RaftStorage {
  readonly #hardState: HardState;
  readonly #confState: ConfState;
  #base: LogContents["base"];
  #entries: Entry[];
  #bytes = 0;
  #snapshot: SnapshotMeta | undefined;

  constructor(contents: LogContents, confState: ConfState, snapshot: SnapshotMeta | undefined) {
    this.#hardState = contents.hardState;
    this.#confState = confState;
    this.#base = contents.base;
    this.#entries = [...contents.entries];
    for (const entry of this.#entries) this.#bytes += entrySizeBytes(entry);
    this.#snapshot = snapshot;
  }

  /** Bytes of the retained entries. */
  get bytes(): number {
    return this.#bytes;
  }

  get length(): number {
    return this.#entries.length;
  }

  get base(): LogContents["base"] {
    return this.#base;
  }

  get newestSnapshot(): SnapshotMeta | undefined {
    return this.#snapshot;
  }

  initialState(): { readonly hardState: HardState; readonly confState: ConfState } {
    return { hardState: this.#hardState, confState: this.#confState };
  }

  firstIndex(): LogIndex {
    return asLogIndex(this.#base.index + 1);
  }

  lastIndex(): LogIndex {
    return asLogIndex(this.#base.index + this.#entries.length);
  }

  lastTerm(): Term {
    return this.#entries.at(-1)?.term ?? this.#base.term;
  }

  term(index: LogIndex): Term {
    if (index === this.#base.index) return this.#base.term;
    if (index < this.#base.index) throw new RaftError("COMPACTED", `entry ${index} was compacted`);
    const entry = this.#entries[index - this.#base.index - 1];
    if (entry === undefined) throw new RaftError("UNAVAILABLE", `entry ${index} is not in the log yet`);
    return entry.term;
  }

  entries(low: LogIndex, high: LogIndex, maxBytes: number): readonly Entry[] {
    if (low <= this.#base.index) throw new RaftError("COMPACTED", `entry ${low} was compacted`);
    if (high > this.lastIndex() + 1) throw new RaftError("UNAVAILABLE", `entry ${high - 1} is not in the log yet`);
    const start = low - this.#base.index - 1;
    let end = start;
    let bytes = 0;
    for (const stop = high - this.#base.index - 1; end < stop; end++) {
      bytes += entrySizeBytes(this.#entries[end] as Entry);
      if (bytes > maxBytes && end > start) break;
    }
    return this.#entries.slice(start, end);
  }

  /** Like `entries`, for a caller that does not know which entries are here: missing ones are left out. */
  retained(first: LogIndex, last: LogIndex, maxBytes: number): readonly Entry[] {
    const end = asLogIndex(Math.min(last, this.lastIndex()) + 1);
    return first < this.firstIndex() || first >= end ? [] : this.entries(first, end, maxBytes);
  }

  /** The configuration changes behind `index`, oldest first. */
  changesAfter(index: LogIndex): readonly ConfChange[] {
    const changes: ConfChange[] = [];
    for (let at = Math.max(0, index - this.#base.index); at < this.#entries.length; at++) {
      const entry = this.#entries[at] as Entry;
      if (entry.kind === "confChange") changes.push(entry.change);
    }
    return changes;
  }

  snapshot(): Snapshot {
    const snapshot = this.#snapshot;
    if (snapshot === undefined) throw new RaftError("SNAPSHOT_TEMPORARILY_UNAVAILABLE", "there is no snapshot yet");
    const { index, term, confState } = snapshot;
    return { index, term, confState, data: noBytes };
  }

  /** Replaces everything at and after the first of `entries`. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    const keep = first.index - this.#base.index - 1;
    assert(keep >= 0 && keep <= this.#entries.length, `entry ${first.index} is not contiguous with the log`);
    for (let at = keep; at < this.#entries.length; at++) this.#bytes -= entrySizeBytes(this.#entries[at] as Entry);
    this.#entries.length = keep;
    for (const entry of entries) {
      this.#entries.push(entry);
      this.#bytes += entrySizeBytes(entry);
    }
  }

  setSnapshot(snapshot: SnapshotMeta): void {
    if (this.#snapshot === undefined || this.#snapshot.index <= snapshot.index) this.#snapshot = snapshot;
  }

  /** The newest snapshot is damaged. */
  forgetSnapshot(): void {
    this.#snapshot = undefined;
  }

  /** The base after a snapshot at `index` when up to `count` entries and `bytes` bytes before it are kept. */
  baseKeeping(index: LogIndex, count: number, bytes: number): LogContents["base"] {
    let at = index - this.#base.index;
    let kept = 0;
    const lowest = Math.max(0, at - count);
    while (at > lowest) {
      kept += entrySizeBytes(this.#entries[at - 1] as Entry);
      if (kept > bytes) break;
      at--;
    }
    if (at <= 0) return this.#base;
    const base = asLogIndex(this.#base.index + at);
    return { index: base, term: this.term(base) };
  }

  /** Forgets the entries up to `base`. */
  compact(base: LogContents["base"]): void {
    const count = base.index - this.#base.index;
    if (count <= 0) return;
    const kept = this.#entries.slice(count);
    // Usually few of very many entries are kept; counting the removed ones would stop the loop for tens of ms.
    if (kept.length < count) this.#bytes = entriesSizeBytes(kept);
    else for (let at = 0; at < count; at++) this.#bytes -= entrySizeBytes(this.#entries[at] as Entry);
    this.#entries = kept;
    this.#base = base;
  }

  /** Starts anew behind a snapshot that was restored. */
  reset(base: LogContents["base"]): void {
    this.#entries = [];
    this.#bytes = 0;
    this.#base = base;
  }
}
