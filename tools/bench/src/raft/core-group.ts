/** Three of our cores in one thread over logs in memory, driven until nothing is left to do. */
import { assert } from "@blixard/common";
import {
  asLogIndex,
  asNodeId,
  asTerm,
  createRaftCore,
  type Entry,
  emptyConfState,
  type LogIndex,
  type Message,
  noNode,
  type RaftCore,
  type RaftStorage,
  type Snapshot,
} from "@blixard/raft/core";
import { type BenchGroup, bytesPerMessageMax, CommitCheck, messagesInFlightMax, nodeIds } from "./bench-group.ts";

interface Node {
  readonly core: RaftCore;
  readonly log: ArrayLog;
  readonly check: CommitCheck<Uint8Array>;
}

export class OurGroup implements BenchGroup {
  readonly #nodes = new Map<unknown, Node>();
  readonly #leader: Node;
  readonly #payloads: readonly Uint8Array[];
  #messages: Message[] = [];
  #proposed = 0;

  constructor(payloads: readonly string[]) {
    this.#payloads = payloads.map((text) => new TextEncoder().encode(text));
    for (const id of nodeIds) {
      const log = new ArrayLog();
      const core = createRaftCore({
        ...{ id: asNodeId(id), electionTick: 10, heartbeatTick: 1, storage: log, random: Math.random },
        maxSizePerMsg: bytesPerMessageMax,
        maxInflightMsgs: messagesInFlightMax,
      });
      this.#nodes.set(id, { core, log, check: new CommitCheck(this.#payloads) });
    }
    const leader = this.#nodes.get(nodeIds[0]);
    assert(leader !== undefined, "there is no first node");
    this.#leader = leader;
    leader.core.campaign();
    this.settle();
    assert(leader.core.status().role === "StateLeader", "the first node was not elected");
  }

  propose(count: number): void {
    for (let at = 0; at < count; at++) {
      this.#leader.core.propose(this.#payloads[this.#proposed++ % this.#payloads.length] as Uint8Array);
    }
  }

  settle(): void {
    do {
      const messages = this.#messages;
      this.#messages = [];
      for (const message of messages) this.#nodes.get(message.to)?.core.step(message);
      for (const node of this.#nodes.values()) while (node.core.hasReady()) this.#process(node);
    } while (this.#messages.length > 0);
  }

  committed(): readonly number[] {
    return [...this.#nodes.values()].map(({ check }) => check.count);
  }

  #process({ core, log, check }: Node): void {
    const ready = core.ready();
    log.append(ready.entries);
    for (const entry of ready.committedEntries) {
      if (entry.kind === "normal" && entry.data.length > 0) check.take(entry.data);
    }
    for (const message of ready.messages) this.#messages.push(message);
    core.advance();
  }
}

/** A log in an array. The group starts as if a snapshot at index 1 had made the three nodes its voters. */
class ArrayLog implements RaftStorage {
  readonly #entries: Entry[] = [];

  initialState() {
    const confState = { ...emptyConfState(), voters: nodeIds.map(asNodeId) };
    return { hardState: { term: asTerm(1), vote: noNode, commit: asLogIndex(1) }, confState };
  }

  firstIndex(): LogIndex {
    return asLogIndex(2);
  }

  lastIndex(): LogIndex {
    return asLogIndex(this.#entries.length + 1);
  }

  term(index: LogIndex) {
    return this.#entries[index - 2]?.term ?? asTerm(1);
  }

  entries(low: LogIndex, high: LogIndex, maxBytes: number): readonly Entry[] {
    let bytes = 0;
    let end = low - 2;
    for (; end < high - 2; end++) {
      const entry = this.#entries[end];
      bytes += 8 + (entry?.kind === "normal" ? entry.data.length : 0);
      if (bytes > maxBytes && end > low - 2) break;
    }
    return this.#entries.slice(low - 2, end);
  }

  snapshot(): Snapshot {
    return { index: asLogIndex(1), term: asTerm(1), confState: this.initialState().confState, data: new Uint8Array() };
  }

  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    const keep = first.index - 2;
    if (keep < this.#entries.length) this.#entries.length = keep;
    for (const entry of entries) this.#entries.push(entry);
  }
}
