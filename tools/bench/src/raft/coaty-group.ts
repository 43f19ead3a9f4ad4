/**
 * Three cores of `@coaty/consensus.raft` in one thread, with the memory storage that comes with it, driven like ours.
 * Its payloads are strings, which it handles fastest: it measures sizes by `JSON.stringify`.
 */
import Module, { createRequire } from "node:module";
import { dirname } from "node:path";
import { assert } from "@blixard/common";
import { type BenchGroup, bytesPerMessageMax, CommitCheck, messagesInFlightMax, nodeIds } from "./bench-group.ts";

interface PeerMessage {
  readonly to: string;
}

interface PeerEntry {
  readonly type: number;
  readonly data: unknown;
}

interface PeerReady {
  readonly entries: readonly PeerEntry[];
  readonly hardState: { isEmptyHardState(): boolean };
  readonly committedEntries: readonly PeerEntry[] | null;
  readonly messages: readonly PeerMessage[] | null;
}

interface PeerCore {
  readonly raft: { readonly id: string; readonly lead: string };
  campaign(): unknown;
  propose(data: string): unknown;
  step(message: PeerMessage): unknown;
  hasReady(): boolean;
  ready(): PeerReady;
  advance(ready: PeerReady): void;
}

interface PeerStorage {
  SetHardState(state: unknown): unknown;
  Append(entries: readonly PeerEntry[]): unknown;
  ApplySnapshot(snapshot: unknown): unknown;
}

interface PeerLibrary {
  readonly RawNode: { NewRawNode(config: unknown): PeerCore };
  readonly RaftConfig: new (options: object) => unknown;
  readonly MemoryStorage: { NewMemoryStorage(): PeerStorage };
  readonly Snapshot: new (options: object) => unknown;
  readonly SnapshotMetadata: new (options: object) => unknown;
  readonly ConfState: new (options: object) => unknown;
}

interface Node {
  readonly core: PeerCore;
  readonly storage: PeerStorage;
  readonly check: CommitCheck<unknown>;
}

/** The core needs one constant of its controller, which would load an MQTT stack and an SQLite binding with it. */
function loadPeer(): PeerLibrary {
  const require = createRequire(import.meta.url);
  const controller = require.resolve("@coaty/consensus.raft/non-ported/raft-controller.js");
  const folder = dirname(dirname(controller));
  const constants = new Module(controller);
  constants.exports = { emptyRaftData: null };
  constants.loaded = true;
  require.cache[controller] = constants;
  const { setLogger, discardLogger } = require(`${folder}/ported/logger.js`);
  setLogger(discardLogger);
  const files = ["rawnode", "raft", "storage", "raftpb/raft.pb", "raftpb/confstate"];
  return Object.assign({}, ...files.map((file) => require(`${folder}/ported/${file}.js`)));
}

let library: PeerLibrary | undefined;

export class CoatyGroup implements BenchGroup {
  readonly #nodes = new Map<string, Node>();
  readonly #leader: Node;
  readonly #payloads: readonly string[];
  #messages: PeerMessage[] = [];
  #proposed = 0;

  constructor(payloads: readonly string[]) {
    this.#payloads = payloads;
    library ??= loadPeer();
    for (const id of nodeIds.map(String))
      this.#nodes.set(id, { ...startCore(library, id), check: new CommitCheck(payloads) });
    const leader = this.#nodes.get(String(nodeIds[0]));
    assert(leader !== undefined, "there is no first node");
    this.#leader = leader;
    leader.core.campaign();
    this.settle();
    assert(leader.core.raft.lead === leader.core.raft.id, "the first node was not elected");
  }

  propose(count: number): void {
    for (let at = 0; at < count; at++) {
      const error = this.#leader.core.propose(this.#payloads[this.#proposed++ % this.#payloads.length] as string);
      assert(error === null, "a proposal was dropped");
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

  #process({ core, storage, check }: Node): void {
    const ready = core.ready();
    if (!ready.hardState.isEmptyHardState()) storage.SetHardState(ready.hardState);
    storage.Append(ready.entries);
    for (const entry of ready.committedEntries ?? []) if (entry.data !== null) check.take(entry.data);
    for (const message of ready.messages ?? []) this.#messages.push(message);
    core.advance(ready);
  }
}

function startCore(peer: PeerLibrary, id: string): Omit<Node, "check"> {
  const storage = peer.MemoryStorage.NewMemoryStorage();
  const confState = new peer.ConfState({ voters: nodeIds.map(String) });
  const metadata = new peer.SnapshotMetadata({ index: 1, term: 1, confState });
  storage.ApplySnapshot(new peer.Snapshot({ metadata }));
  const config = new peer.RaftConfig({
    ...{ id, electionTick: 10, heartbeatTick: 1, storage },
    maxSizePerMsg: bytesPerMessageMax,
    maxInflightMsgs: messagesInFlightMax,
  });
  return { core: peer.RawNode.NewRawNode(config), storage };
}
