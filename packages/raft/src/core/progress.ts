/**
 * What a leader knows of one peer's log, and the flow control of its appends.
 *
 *                    ack that matches
 *     +-> StateProbe ------------------> StateReplicate
 *     |     |    ^                          |      |
 *     |     |    +--- reject, unreachable --+      |
 *     |     |                                      |
 *     |     +---- log compacted past next ---------+
 *     |                       |
 *     |                       v
 *     +-- MsgSnapStatus -- StateSnapshot --- ack that reconnects to the log ---> StateReplicate
 *
 * Probe sends one append and waits for an answer or a heartbeat response. Replicate sends ahead of the answers,
 * within the window of {@link Inflights}. Snapshot sends no appends.
 */
import { assert } from "@blixard/common";
import { after, before, maxIndex, minIndex, noIndex, plus } from "./indexes.ts";
import { Inflights } from "./inflights.ts";
import type { LogIndex, NodeId, ProgressState, ProgressStatus } from "./types.ts";

export interface ProgressOptions {
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
}

export class Progress {
  readonly id: NodeId;
  readonly inflights: Inflights;
  state: ProgressState = "StateProbe";
  /** The peer's log is known to equal ours up to here. Always below `next`. */
  match: LogIndex = noIndex;
  /** The next entry to send; those between `match` and `next` are in flight. */
  next: LogIndex;
  learner: boolean;
  /** Set by any message of the peer, cleared by each check of the quorum. Always true for the leader itself. */
  recentActive = false;
  /** Appends wait for an acknowledgement or for the next heartbeat response. */
  flowPaused = false;
  /** In StateSnapshot: the index of the snapshot that was sent. */
  pendingSnapshot: LogIndex = noIndex;
  /** The highest commit index that is on its way to the peer. */
  #sentCommit: LogIndex = noIndex;

  constructor(id: NodeId, next: LogIndex, learner: boolean, options: ProgressOptions) {
    this.id = id;
    this.next = maxIndex(next, after(noIndex));
    this.learner = learner;
    this.inflights = new Inflights(options.inflightMessagesMax, options.inflightBytesMax);
  }

  /** Forgets everything that an earlier leadership learned. */
  reset(match: LogIndex, next: LogIndex): void {
    this.#enter("StateProbe");
    this.match = match;
    this.next = next;
    this.recentActive = false;
    this.#sentCommit = noIndex;
  }

  /** After a snapshot was delivered, probing goes on behind it. */
  becomeProbe(): void {
    const delivered = this.state === "StateSnapshot" ? this.pendingSnapshot : noIndex;
    this.#enter("StateProbe");
    this.next = maxIndex(after(this.match), after(delivered));
    this.#sentCommit = minIndex(this.#sentCommit, before(this.next));
  }

  becomeReplicate(): void {
    this.#enter("StateReplicate");
    this.next = after(this.match);
  }

  becomeSnapshot(index: LogIndex): void {
    this.#enter("StateSnapshot");
    this.pendingSnapshot = index;
    this.next = after(index);
    this.#sentCommit = index;
  }

  get paused(): boolean {
    return this.state === "StateSnapshot" || this.flowPaused;
  }

  /** Notes an append message with `count` entries from `next` on, which hold `bytes` of payload. */
  sentEntries(count: number, bytes: number): void {
    assert(this.state !== "StateSnapshot", "entries were sent to a peer that waits for a snapshot");
    if (this.state === "StateProbe") {
      if (count > 0) this.flowPaused = true;
      return;
    }
    if (count > 0) {
      this.next = plus(this.next, count);
      this.inflights.add(before(this.next), bytes);
    }
    // A message that fills the window, or goes out past a full one, is a probe: one for each heartbeat response.
    this.flowPaused = this.inflights.full;
  }

  sentCommit(index: LogIndex): void {
    this.#sentCommit = index;
  }

  /** Whether telling the peer this commit index can raise its own, which ends at the last entry sent to it. */
  canRaiseCommit(index: LogIndex): boolean {
    return index > this.#sentCommit && this.#sentCommit < before(this.next);
  }

  /** Takes an acknowledgement of everything up to `index`; false when it tells nothing new. */
  acknowledge(index: LogIndex): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = maxIndex(this.next, after(index));
    this.flowPaused = false;
    return true;
  }

  /**
   * Takes the rejection of an append whose entries follow `rejected`, with a guess where the logs still agree. Returns
   * false when the rejection is stale, because a later answer has said more.
   */
  reject(rejected: LogIndex, hint: LogIndex): boolean {
    if (this.state === "StateReplicate") {
      if (rejected <= this.match) return false;
      this.next = after(this.match);
      this.#sentCommit = minIndex(this.#sentCommit, before(this.next));
      return true;
    }
    // A probe goes out one at a time, so its rejection names exactly the entry before `next`.
    if (before(this.next) !== rejected) return false;
    this.next = maxIndex(minIndex(rejected, after(hint)), after(this.match));
    this.#sentCommit = minIndex(this.#sentCommit, before(this.next));
    this.flowPaused = false;
    return true;
  }

  status(): ProgressStatus {
    return {
      id: this.id,
      state: this.state,
      match: this.match,
      next: this.next,
      learner: this.learner,
      paused: this.paused,
      pendingSnapshot: this.pendingSnapshot,
      recentActive: this.recentActive,
      inflight: this.inflights.count,
      inflightFull: this.inflights.full,
    };
  }

  #enter(state: ProgressState): void {
    this.state = state;
    this.flowPaused = false;
    this.pendingSnapshot = noIndex;
    this.inflights.clear();
  }
}
