/** The conformance suite of the port PeerTransport, over links that are healthy until a test breaks them. */
import { fromUtf8, Watch } from "@blixard/common";
import { newMessage } from "../core/messages.ts";
import { asLogIndex, asNodeId, asTerm, type Entry, type NodeId } from "../core/types.ts";
import type { PeerMessage, PeerTransport, PeerTransportHandlers } from "../ports.ts";
import type { SuiteRunner } from "./suite-runner.ts";

/** The nodes 1, 2 and 3, each of which knows the other two. */
export interface PeerTransportRig {
  transport(id: NodeId): PeerTransport;
  /** Ends a node as a crash does. */
  crash(id: NodeId): Promise<void>;
  dispose(): Promise<void>;
}

/** Starts the three nodes, binds each to its handlers, and resolves when all of them can reach each other. */
export type PeerTransportStart = (handlersOf: (id: NodeId) => PeerTransportHandlers) => Promise<PeerTransportRig>;

interface Received {
  readonly from: NodeId;
  readonly message: PeerMessage;
}

const nodes = [1, 2, 3].map(asNodeId);
const [one, two, three] = nodes as [NodeId, NodeId, NodeId];
const term = asTerm(7);
const bytes = (length: number) => Uint8Array.from({ length }, (_, at) => (at * 2_654_435_761) >>> 24);
const entry = (index: number, data: Uint8Array): Entry => ({ term, index: asLogIndex(index), kind: "normal", data });
const confState = { voters: nodes, votersOutgoing: [], learners: [asNodeId(9)], learnersNext: [], autoLeave: false };
const change = { version: 2, transition: "explicit", changes: [{ op: "addVoter", id: asNodeId(4) }] } as const;
const raft = (...args: Parameters<typeof newMessage>): PeerMessage => ({ type: "raft", message: newMessage(...args) });
const heartbeat = (from: NodeId, to: NodeId, commit: number) =>
  raft("MsgHeartbeat", from, to, term, { commit: asLogIndex(commit) });

/** One message of each kind, from node 1 to node 2. */
function samples(): PeerMessage[] {
  const snapshot = { index: asLogIndex(40), term, confState, data: new Uint8Array(0) };
  const name = { session: 2 ** 48 - 1, sequence: 12 };
  const unplaced = { term: asTerm(0), index: asLogIndex(0) };
  const changeEntry: Entry = { ...unplaced, term, index: asLogIndex(13), kind: "confChange", change };
  return [
    heartbeat(one, two, 5),
    raft("MsgHeartbeat", one, two, term, { context: bytes(16) }),
    raft("MsgApp", one, two, term, {
      ...{ index: asLogIndex(10), logTerm: term, commit: asLogIndex(9) },
      entries: [entry(11, bytes(100)), entry(12, new Uint8Array(0)), changeEntry],
    }),
    raft("MsgAppResp", one, two, term, { reject: true, rejectHint: asLogIndex(3), index: asLogIndex(8) }),
    raft("MsgPreVote", one, two, asTerm(2 ** 53 - 1), { logTerm: term, index: asLogIndex(12) }),
    {
      type: "snapshotChunk",
      message: newMessage("MsgSnap", one, two, term, { snapshot }),
      sizeBytes: 1_000_000,
      offset: 262_144,
      data: bytes(262_144),
    },
    { type: "snapshotAck", index: asLogIndex(40), term, receivedBytes: 524_288, refused: false },
    { type: "proposal", term, ...name, force: false, entry: { ...unplaced, kind: "normal", data: fromUtf8("x") } },
    { type: "proposal", term, ...name, force: true, entry: { ...unplaced, kind: "confChange", change } },
    { type: "proposalAnswer", ...name, verdict: { type: "placed", index: asLogIndex(14), term } },
    { type: "proposalAnswer", ...name, verdict: { type: "refused", code: "CONFLICT", reason: "no", leaderId: three } },
  ];
}

export function describePeerTransport(
  name: string,
  { describe, it, expect }: SuiteRunner,
  start: PeerTransportStart,
): void {
  const test = (title: string, run: (rig: PeerTransportRig, inbox: Inbox) => Promise<void>) =>
    it(title, async () => {
      const inbox = new Inbox();
      const rig = await start((id) => inbox.handlersOf(id));
      try {
        await run(rig, inbox);
      } finally {
        await rig.dispose();
      }
    });

  describe(`${name} as a PeerTransport`, () => {
    test("delivers every kind of message unaltered, with the id of its sender", async (rig, inbox) => {
      const sent = samples();
      for (const message of sent) expect(rig.transport(one).send(two, frozen(message))).toEqual(true);
      const received = await inbox.until(two, (all) => all.length >= sent.length);
      expect(received.map(({ from }) => from)).toEqual(sent.map(() => one));
      expect(received.map(({ message }) => comparable(message)).sort()).toEqual(sent.map(comparable).sort());
    });

    test("carries messages between all nodes, to nobody else", async (rig, inbox) => {
      for (const from of nodes) {
        for (const to of nodes) if (from !== to) rig.transport(from).send(to, heartbeat(from, to, from));
      }
      for (const to of nodes) {
        const received = await inbox.until(to, (all) => all.length >= 2);
        expect(received.map(({ from }) => from).sort()).toEqual(nodes.filter((id) => id !== to));
      }
    });

    test("carries an entry of a megabyte", async (rig, inbox) => {
      const large = raft("MsgApp", one, two, term, { entries: [entry(1, bytes(1024 * 1024))] });
      expect(rig.transport(one).send(two, large)).toEqual(true);
      const [received] = await inbox.until(two, (all) => all.length >= 1);
      expect(received === undefined ? "" : comparable(received.message)).toEqual(comparable(large));
    });

    test("never calls a handler inside send", async (rig, inbox) => {
      rig.transport(one).send(two, heartbeat(one, two, 1));
      expect(inbox.count(two)).toEqual(0);
      await inbox.until(two, (all) => all.length >= 1);
    });

    test("says which messages it took, and delivers those, when many come at once", async (rig, inbox) => {
      let taken = 0;
      for (let commit = 1; commit <= 500; commit++) {
        if (rig.transport(one).send(two, heartbeat(one, two, commit))) taken++;
      }
      const received = await inbox.until(two, (all) => all.length >= taken);
      expect(new Set(received.map(({ message }) => comparable(message))).size).toEqual(taken);
    });

    test("answers false for a node that it does not know", async (rig) => {
      expect(rig.transport(one).send(asNodeId(77), heartbeat(one, asNodeId(77), 1))).toEqual(false);
    });

    test("tells that a peer is gone, and goes on with the others", async (rig, inbox) => {
      rig.transport(one).send(two, heartbeat(one, two, 1));
      await inbox.until(two, (all) => all.length >= 1);
      await rig.crash(two);
      if (rig.transport(one).send(two, heartbeat(one, two, 2))) await inbox.untilUnreachable(one, two);
      expect(rig.transport(one).send(three, heartbeat(one, three, 3))).toEqual(true);
      await inbox.until(three, (all) => all.length >= 1);
    });
  });
}

/** What all nodes received. */
class Inbox {
  readonly #received = new Map(nodes.map((id) => [id, new Watch<readonly Received[]>([])]));
  readonly #unreachable = new Map(nodes.map((id) => [id, new Watch<readonly NodeId[]>([])]));

  handlersOf(id: NodeId): PeerTransportHandlers {
    return {
      onMessage: (from, message) => this.#received.get(id)?.update((all) => [...all, { from, message }]),
      onUnreachable: (peer) => this.#unreachable.get(id)?.update((all) => [...all, peer]),
    };
  }

  count(id: NodeId): number {
    return this.#received.get(id)?.value.length ?? 0;
  }

  async until(id: NodeId, holds: (all: readonly Received[]) => boolean): Promise<readonly Received[]> {
    return (await this.#received.get(id)?.until(holds)) ?? [];
  }

  async untilUnreachable(id: NodeId, peer: NodeId): Promise<void> {
    await this.#unreachable.get(id)?.until((all) => all.includes(peer));
  }
}

/** Equal texts for equal messages, whatever class of byte array an adapter uses. */
function comparable(message: PeerMessage): string {
  return JSON.stringify(sorted(message));
}

function sorted(value: unknown): unknown {
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, field]) => [key, sorted(field)]));
}

/** A transport that changes what it was given throws. */
function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  for (const field of Object.values(value)) frozen(field);
  return Object.freeze(value);
}
