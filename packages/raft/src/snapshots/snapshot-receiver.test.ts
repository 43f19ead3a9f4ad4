import { BlixardError, silentLogger } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { newMessage } from "../core/messages.ts";
import { asLogIndex, asNodeId, asTerm, type Message, type Snapshot } from "../core/types.ts";
import type { PeerMessage, SnapshotMeta, SnapshotStore } from "../ports.ts";
import { RaftGroup } from "../testing/index.ts";
import { type SnapshotChunk, SnapshotReceiver } from "./snapshot-receiver.ts";

const bytes = Uint8Array.of(1, 2, 3, 4);
const confState = {
  voters: [1, 2, 3].map(asNodeId),
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

/** A store whose saves end when the test says so. */
class HeldStore implements SnapshotStore {
  newest: SnapshotMeta | undefined;
  readonly saves: { readonly index: number; end(): void }[] = [];

  async latest() {
    return this.newest;
  }

  async save(meta: Omit<SnapshotMeta, "sizeBytes">, chunks: AsyncIterable<Uint8Array>): Promise<SnapshotMeta> {
    let sizeBytes = 0;
    for await (const chunk of chunks) sizeBytes += chunk.length;
    await new Promise<void>((resolve) => this.saves.push({ index: meta.index, end: resolve }));
    if ((this.newest?.index ?? 0) > meta.index) throw new BlixardError("CONFLICT", "a newer one is here");
    this.newest = { ...meta, sizeBytes };
    return this.newest;
  }

  async read(): Promise<Uint8Array> {
    return bytes;
  }

  async close() {}
}

function start() {
  const store = new HeldStore();
  const sent: PeerMessage[] = [];
  const received: Message[] = [];
  let stored: SnapshotMeta | undefined;
  const receiver = new SnapshotReceiver(
    {
      snapshots: store,
      transport: { send: (_to, message) => sent.push(message) > 0, bind: () => {} },
      logger: silentLogger,
      nowMs: () => 0,
      post: (task) => task(),
      needs: () => "yes",
      newest: () => stored,
      onStored: (meta) => {
        stored = meta;
      },
      onReceived: (message) => received.push(message),
      onEvent: () => {},
      onBytes: () => {},
      onError: (error) => {
        throw error;
      },
    },
    { bytesMax: 1_000, silenceMs: 1_000 },
  );
  return { store, sent, received, receiver };
}

function chunkOf(from: number, term: number, index: number): SnapshotChunk {
  const snapshot: Snapshot = { index: asLogIndex(index), term: asTerm(term), confState, data: new Uint8Array() };
  const message = newMessage("MsgSnap", asNodeId(from), asNodeId(1), asTerm(term), { snapshot });
  return { type: "snapshotChunk", message, sizeBytes: bytes.length, offset: 0, data: bytes };
}

/** Lets everything that can go on without the test do so. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("SnapshotReceiver", () => {
  it("installs what a superseded transfer left in the store, when a new leader sends an older one", async () => {
    const { store, sent, received, receiver } = start();
    receiver.receive(asNodeId(3), chunkOf(3, 4, 23));
    await settle();
    // The disk is slow: a leader of a later term comes in between, and its snapshot is older.
    receiver.receive(asNodeId(2), chunkOf(2, 5, 20));
    await settle();
    // Two saves at once could make the older one the newest after it was installed.
    expect(store.saves.map(({ index }) => index)).toEqual([23]);
    store.saves[0]?.end();
    await settle();
    expect(received).toEqual([]);
    receiver.receive(asNodeId(2), chunkOf(2, 5, 20));
    await settle();
    expect(store.saves).toHaveLength(1);
    expect(received).toMatchObject([
      { type: "MsgSnap", from: 2, term: 5, snapshot: { index: 23, term: 4, confState } },
    ]);
    expect(sent.at(-1)).toEqual({ type: "snapshotAck", index: 20, term: 5, receivedBytes: 4, refused: false });
  });

  it("takes a newer one when the one before it has ended", async () => {
    const { store, received, receiver } = start();
    receiver.receive(asNodeId(3), chunkOf(3, 4, 23));
    await settle();
    receiver.receive(asNodeId(2), chunkOf(2, 5, 30));
    await settle();
    store.saves[0]?.end();
    await settle();
    receiver.receive(asNodeId(2), chunkOf(2, 5, 30));
    await settle();
    store.saves[1]?.end();
    await settle();
    expect(received).toMatchObject([{ from: 2, snapshot: { index: 30 } }]);
  });
});

describe("a node that is sent a piece of a snapshot", () => {
  it("takes none in the name of another node than the one that it comes from", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    await group.waitForEqualState();
    const leader = await group.waitForLeader();
    const [target, other] = [...group.members.values()].filter(({ id }) => id !== leader.id);
    if (target === undefined || other === undefined) throw new Error("the group has one node");
    const answers: PeerMessage[] = [];
    group.network.filter = (from, _to, message) => {
      if (from === target.id && message.type === "snapshotAck") answers.push(message);
      return true;
    };
    const { term } = leader.node.status.value;
    const chunk = chunkOf(leader.id, term, 1_000);
    const named = { ...chunk, message: { ...chunk.message, to: target.id } };
    group.network.transport(other.id).send(target.id, named);
    await group.clock.advance(500);
    expect(answers).toEqual([]);
    expect(target.node.status.value).toMatchObject({ snapshotIndex: 0 });
    await group.propose("b");
    await group.waitForEqualState();
    expect(target.machine.values).toEqual(["a", "b"]);
    await group.close();
  });
});
