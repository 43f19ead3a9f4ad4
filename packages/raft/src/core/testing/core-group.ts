/**
 * A group of cores in one process, driven by hand: a test decides what is processed, delivered, dropped and ticked.
 * Nothing happens by itself, and the order of everything is fixed.
 */
import { assert } from "@blixard/common";
import { after, before } from "../indexes.ts";
import type { RaftConfig, RaftCore } from "../raft-core.ts";
import { createRaftCore } from "../raw-node.ts";
import { emptyConfState } from "../tracker.ts";
import {
  asLogIndex,
  asNodeId,
  asTerm,
  type ConfState,
  type Entry,
  type HardState,
  type LogIndex,
  type Message,
  type NodeId,
  type ReadState,
  type Ready,
  type Snapshot,
} from "../types.ts";
import { MemoryStorage } from "./memory-storage.ts";

/** Rounds after which a group that does not settle is taken for one that never will. */
const settleRoundsMax = 1000;

export interface CoreGroupOptions {
  readonly voters: readonly number[];
  readonly learners?: readonly number[];
  /** Nodes without a configuration, for example to be added later. */
  readonly outsiders?: readonly number[];
  readonly config?: Partial<RaftConfig>;
}

export interface GroupNode {
  readonly id: NodeId;
  readonly storage: MemoryStorage;
  core: RaftCore;
  /** Every entry that the state machine got since the start, in order. */
  readonly applied: Entry[];
  readonly reads: ReadState[];
  /** Work of the storage threads, with asynchronous storage writes. */
  appendWork: Message[];
  applyWork: Message[];
}

export class CoreGroup {
  readonly nodes: readonly GroupNode[];
  /** Messages between nodes that were sent and not delivered yet. */
  network: Message[] = [];
  readonly #config: Partial<RaftConfig>;

  constructor(options: CoreGroupOptions) {
    this.#config = options.config ?? {};
    const confState: ConfState = {
      ...emptyConfState(),
      voters: options.voters.map(asNodeId),
      learners: (options.learners ?? []).map(asNodeId),
    };
    const outsiders = options.outsiders ?? [];
    const ids = [...options.voters, ...(options.learners ?? []), ...outsiders].sort((left, right) => left - right);
    this.nodes = ids.map((id) => this.#addNode(asNodeId(id), outsiders.includes(id) ? emptyConfState() : confState));
  }

  node(id: number): GroupNode {
    const found = this.nodes.find((node) => node.id === id);
    assert(found !== undefined, `there is no node ${id}`);
    return found;
  }

  core(id: number): RaftCore {
    return this.node(id).core;
  }

  leader(): GroupNode {
    const leaders = this.nodes.filter(({ core }) => core.status().role === "StateLeader");
    const newest = leaders.sort((left, right) => right.core.status().term - left.core.status().term)[0];
    assert(newest !== undefined, "nobody leads");
    return newest;
  }

  /** Does what the next Ready of a node asks for; undefined when there is none. */
  process(id: number): Ready | undefined {
    const node = this.node(id);
    if (!node.core.hasReady()) return undefined;
    const ready = node.core.ready();
    node.reads.push(...ready.readStates);
    const asynchronous = this.#config.asyncStorageWrites === true;
    if (!asynchronous) {
      persist(node, ready.hardState, ready.entries, ready.snapshot);
      apply(node, ready.committedEntries);
    }
    for (const message of ready.messages) {
      if (message.to === "append") node.appendWork.push(message);
      else if (message.to === "apply") node.applyWork.push(message);
      else this.network.push(message);
    }
    if (!asynchronous) node.core.advance();
    return ready;
  }

  /** Does the oldest piece of work of a storage thread; false when there is none. */
  work(id: number, thread: "append" | "apply"): boolean {
    const node = this.node(id);
    const message = (thread === "append" ? node.appendWork : node.applyWork).shift();
    if (message === undefined) return false;
    if (thread === "append") {
      const { term, vote, commit } = message;
      const hardState = term === 0 && vote === 0 && commit === 0 ? undefined : { term, vote, commit };
      persist(node, hardState, message.entries, message.snapshot);
    } else {
      apply(node, message.entries);
    }
    for (const response of message.responses ?? []) {
      if (response.to === node.id) stepQuietly(node, response);
      else this.network.push(response);
    }
    return true;
  }

  /** Hands a message to its receiver as a transport would. */
  deliver(message: Message): void {
    const receiver = this.nodes.find(({ id }) => id === message.to);
    if (receiver !== undefined) stepQuietly(receiver, message);
  }

  /** Takes the messages that are in flight, delivers those that `passes` lets through, drops the others. */
  deliverAll(passes: (message: Message) => boolean = () => true): number {
    const messages = this.network;
    this.network = [];
    for (const message of messages) if (passes(message)) this.deliver(message);
    return messages.length;
  }

  /** Processes and delivers until nothing is left to do. */
  settle(passes?: (message: Message) => boolean): void {
    for (let round = 0; round < settleRoundsMax; round++) {
      let busy = false;
      for (const { id } of this.nodes) {
        while (this.process(id) !== undefined) busy = true;
        while (this.work(id, "append")) busy = true;
        while (this.work(id, "apply")) busy = true;
      }
      if (this.deliverAll(passes) > 0) busy = true;
      if (!busy) return;
    }
    assert(false, "the group does not settle");
  }

  /** Elects a node and lets the group settle. */
  elect(id: number): void {
    this.core(id).campaign();
    this.settle();
    assert(this.leader().id === id, `node ${id} was not elected`);
  }

  tick(id: number, count = 1): void {
    for (let tick = 0; tick < count; tick++) this.core(id).tick();
  }

  /** Loses everything that was not written, and starts from storage. */
  restart(id: number): void {
    const node = this.node(id);
    node.appendWork = [];
    node.applyWork = [];
    const applied = node.applied.at(-1)?.index ?? before(node.storage.firstIndex());
    node.core = this.#createCore(node.id, node.storage, applied);
  }

  #addNode(id: NodeId, confState: ConfState): GroupNode {
    const storage = new MemoryStorage();
    if (confState.voters.length > 0) {
      storage.applySnapshot({ index: asLogIndex(1), term: asTerm(1), confState, data: new Uint8Array() });
      storage.hardState = { term: asTerm(1), vote: asNodeId(0), commit: asLogIndex(1) };
    }
    const core = this.#createCore(id, storage, before(storage.firstIndex()));
    return { id, storage, core, applied: [], reads: [], appendWork: [], applyWork: [] };
  }

  #createCore(id: NodeId, storage: MemoryStorage, applied: LogIndex): RaftCore {
    const defaults = { electionTick: 10, heartbeatTick: 1, random: () => 0 };
    return createRaftCore({ ...defaults, ...this.#config, id, storage, applied });
  }
}

function persist(node: GroupNode, hardState: HardState | undefined, entries: readonly Entry[], snapshot?: Snapshot) {
  if (hardState !== undefined) node.storage.hardState = hardState;
  if (snapshot !== undefined) node.storage.applySnapshot(snapshot);
  node.storage.append(entries);
}

/** The state machine keeps the entries; a snapshot of it has no bytes. */
function apply(node: GroupNode, entries: readonly Entry[]): void {
  for (const entry of entries) {
    const previous = node.applied.at(-1);
    assert(previous === undefined || entry.index >= after(previous.index), "an entry was applied twice");
    node.applied.push(entry);
    if (entry.kind === "confChange") node.storage.confState = node.core.applyConfChange(entry.change);
    const { index, term } = entry;
    node.storage.newestSnapshot = { index, term, confState: node.storage.confState, data: new Uint8Array() };
  }
}

/** Errors of `step` tell the sender's side that it is in the wrong place; the receiver is unharmed. */
function stepQuietly(node: GroupNode, message: Message): void {
  try {
    node.core.step(message);
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code !== "PROPOSAL_DROPPED" && code !== "STEP_PEER_NOT_FOUND") throw error;
  }
}
