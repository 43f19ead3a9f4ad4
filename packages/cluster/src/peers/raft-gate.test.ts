import { silentLogger } from "@blixard/common";
import type { RequestOf } from "@blixard/protocol";
import {
  asLogIndex,
  asNodeId,
  asTerm,
  type ConfChange,
  type ConfChangeOp,
  type ConfState,
  emptyConfState,
  type Message,
  type MessageType,
  type NodeId,
  type PeerMessage,
} from "@blixard/raft";
import { settle, VirtualClock } from "@blixard/raft/testing";
import { describe, expect, it } from "@jest/globals";
import { applyChange, emptyState, nodeKey } from "../state-machine/state.ts";
import type { Change } from "../state-machine/types.ts";
import { sampleNode } from "../testing/command-samples.ts";
import { raftWall } from "../testing/raft-wall.ts";
import { type PeerMessageType, raftAccess } from "./raft-access.ts";
import { RaftGate, type RaftGateDeps } from "./raft-gate.ts";

/** The senders of the table, as node 1 knows them. */
const senders = { voter: 2, witness: 3, learner: 4, worker: 5, removed: 6, unknown: 7, banned: 11 } as const;
type Role = keyof typeof senders;
const roles = Object.keys(senders) as Role[];

const types = Object.keys(raftAccess) as PeerMessageType[];

const ownTerm = 5;
const ids = (...nodes: number[]) => nodes.map(asNodeId);
const message = (type: MessageType, from: number, term = ownTerm) =>
  ({
    type,
    from: asNodeId(from),
    to: asNodeId(1),
    term: asTerm(term),
    entries: [],
    reject: false,
  }) as unknown as Message;
const raft = (type: MessageType, from: number, term?: number): PeerMessage => ({
  type: "raft",
  message: message(type, from, term),
});
const change = (op: ConfChangeOp["op"], id: number): ConfChange => {
  return { version: 1, transition: "auto", changes: [{ op, id: asNodeId(id) }] };
};

function envelope(type: PeerMessageType, from: number): PeerMessage {
  const [index, term] = [asLogIndex(1), asTerm(ownTerm)];
  const name = { session: 1, sequence: 1 };
  switch (type) {
    case "snapshotChunk":
      return { type, message: message("MsgSnap", from), sizeBytes: 1, offset: 0, data: new Uint8Array(1) };
    case "snapshotAck":
      return { type, index, term, receivedBytes: 0, refused: false };
    case "proposal":
      return { type, term, ...name, force: false, entry: { term, index, kind: "normal", data: new Uint8Array(1) } };
    case "proposalAnswer":
      return { type, ...name, verdict: { type: "placed", index, term } };
    default:
      return raft(type, from);
  }
}

/** What the voters say of others: those of whom each vouches; one that is missing does not answer. */
type Words = Readonly<Record<number, readonly number[]>>;

/** The gate of node 1, whose state knows the senders above. */
function gateOf(given: {
  readonly conf?: Partial<ConfState>;
  readonly unapplied?: readonly ConfChange[];
  readonly words?: Words;
  readonly empty?: boolean;
  readonly seed?: RaftGateDeps["seed"];
  readonly appliedIndex?: number;
  readonly budgets?: RaftGateDeps["budgets"];
}) {
  const state = emptyState();
  const put = (change: Change) => applyChange(state, change);
  const admit = (id: number, role: "voter" | "witness" | "learner" | "worker") =>
    put({ table: "nodes", key: nodeKey(id), value: sampleNode(id, { role }) });
  if (!given.empty) {
    admit(1, "voter");
    for (const role of ["voter", "witness", "learner", "worker"] as const) admit(senders[role], role);
    const { endpointId } = sampleNode(senders.removed);
    const removed = { nodeId: senders.removed, endpointId, incarnation: 1, index: 9 };
    put({ table: "removed", key: nodeKey(senders.removed), value: removed });
    admit(senders.banned, "voter");
    const banned = sampleNode(senders.banned).endpointId;
    const ban = { endpointId: banned, nodeId: senders.banned, role: "voter", bannedUnixMs: 1, index: 9 } as const;
    put({ table: "banned", key: banned, value: ban });
  }
  const clock = new VirtualClock();
  const asked: number[] = [];
  const requests: RequestOf<"member.vouch">[] = [];
  const counted: unknown[] = [];
  const slowed: number[] = [];
  let nodesIndex = 1;
  const ask = async (to: unknown, _: string, request: unknown) => {
    asked.push(to as number);
    const { id } = request as RequestOf<"member.vouch">;
    requests.push(request as RequestOf<"member.vouch">);
    const said = given.words?.[to as number];
    if (said === undefined) throw new Error("no answer");
    return { vouches: said.includes(id) };
  };
  const session = { transport: "x", path: "direct", rttMs: 1, lastContactMs: 1 } as const;
  const sessions = Array.from({ length: 12 }, (_, at) => ({
    nodeId: at,
    endpointId: sampleNode(at).endpointId,
    ...session,
  }));
  const stateMachine = {
    state,
    get version() {
      return { value: { changed: { nodes: nodesIndex } } };
    },
  } as unknown as RaftGateDeps["stateMachine"];
  const confState = { ...emptyConfState(), voters: ids(1, 2, 3), learners: ids(4, 5), ...given.conf };
  const gate = new RaftGate({
    ...{ clock, logger: silentLogger, stateMachine, nodeId: 1, seed: given.seed },
    budgets: given.budgets ?? { admitsRead: () => true, admitsSnapshotBytes: () => true },
    refused: { add: (_, labels) => void counted.push(labels) },
    transport: { sessions: () => sessions, slow: (id) => void slowed.push(id) },
    peerCalls: { ask } as unknown as RaftGateDeps["peerCalls"],
    raft: () => ({
      status: {
        ...{ term: asTerm(ownTerm), leaderId: asNodeId(0), confState },
        appliedIndex: asLogIndex(given.appliedIndex ?? 10),
      },
      unappliedChanges: () => given.unapplied ?? [],
    }),
  });
  const nodesChange = () => {
    nodesIndex++;
  };
  return { gate, clock, asked, requests, counted, slowed, admit, nodesChange };
}

const appends = (gate: RaftGate, from: number) => gate.admits(from, raft("MsgApp", from, ownTerm + 1));

describe("the gate in front of Raft", () => {
  it("has an expected cell for every type", () => {
    expect([...types].sort()).toEqual(Object.keys(raftWall).sort());
  });

  it.each(types)("takes %s from those who may send it, and counts it from the others", (type) => {
    const { gate, counted, slowed } = gateOf({});
    const taken = roles.filter((role) => gate.admits(senders[role], envelope(type, senders[role])));
    expect(taken).toEqual(raftWall[type]);
    const refused = roles.filter((role) => !raftWall[type]?.includes(role));
    expect(counted).toEqual(refused.map((role) => ({ type, role })));
    // Who may be a voter that this node has not heard of yet is not read more slowly.
    const followers = refused.filter((role) => !["voter", "witness", "unknown"].includes(role));
    expect(slowed).toEqual(followers.map((role) => senders[role]));
  });

  it("lets nobody who does not vote bring a higher term", () => {
    const { gate } = gateOf({});
    for (const type of ["MsgAppResp", "MsgHeartbeatResp", "MsgReadIndex"] as const) {
      const taken = roles.filter((role) => gate.admits(senders[role], raft(type, senders[role], ownTerm + 1)));
      expect(taken).toEqual(["voter", "witness"]);
    }
  });

  it("takes for a voter whom a configuration in the log names, applied or not", () => {
    const { worker, unknown } = senders;
    expect(appends(gateOf({ conf: { voters: ids(1, 2, worker) } }).gate, worker)).toBe(true);
    expect(appends(gateOf({ conf: { votersOutgoing: ids(1, 2, worker) } }).gate, worker)).toBe(true);
    expect(appends(gateOf({ unapplied: [change("addVoter", worker)] }).gate, worker)).toBe(true);
    expect(appends(gateOf({ unapplied: [change("addVoter", unknown)] }).gate, unknown)).toBe(true);
    expect(appends(gateOf({ unapplied: [change("addLearner", unknown)] }).gate, unknown)).toBe(false);
    expect(appends(gateOf({ unapplied: [change("addVoter", unknown)] }).gate, worker)).toBe(false);
  });

  it("takes a banned key for no voter, whatever names it and whoever vouches for it", async () => {
    const { banned } = senders;
    const { gate, asked } = gateOf({
      conf: { voters: ids(1, 2, banned) },
      unapplied: [change("addVoter", banned)],
      words: { 2: [banned] },
    });
    expect(appends(gate, banned)).toBe(false);
    await settle();
    expect([appends(gate, banned), gate.isVoter(banned), asked]).toEqual([false, false, []]);
    expect(gate.admits(banned, raft("MsgAppResp", banned))).toBe(true);
    expect(gate.admits(banned, raft("MsgAppResp", banned, ownTerm + 1))).toBe(false);
  });

  it("does not take a worker for the machine that got its id after it", () => {
    const { worker } = senders;
    const replaced = [change("remove", worker), change("addLearner", worker), change("addVoter", worker)];
    expect(appends(gateOf({ unapplied: replaced }).gate, worker)).toBe(false);
    expect(appends(gateOf({ conf: { learners: [] }, unapplied: replaced.slice(1) }).gate, worker)).toBe(false);
  });

  it("believes the join answer who votes, until the state here is as new", () => {
    const nodes = [sampleNode(7), sampleNode(8, { role: "worker" })];
    const joiner = (more: object) =>
      gateOf({ conf: { voters: [], learners: [] }, seed: { nodes, incarnation: 1 }, ...more });
    expect(appends(joiner({ empty: true }).gate, 7)).toBe(true);
    expect(appends(joiner({ empty: true }).gate, 8)).toBe(false);
    expect(appends(joiner({}).gate, 7)).toBe(false);
    const later = { nodes, incarnation: 1, admission: { index: 100, term: 1 } };
    expect(appends(joiner({ seed: later, appliedIndex: 99 }).gate, 7)).toBe(true);
    expect(appends(joiner({ seed: later, appliedIndex: 100 }).gate, 7)).toBe(false);
    expect(appends(joiner({ seed: { nodes, incarnation: 2 } }).gate, 7)).toBe(true);
  });
});

describe("the budgets of members", () => {
  it("keep back questions for an index to read at and chunks of a state, and nothing else", () => {
    const { worker, learner } = senders;
    const { gate, counted } = gateOf({
      budgets: { admitsRead: (id) => id !== worker, admitsSnapshotBytes: (id) => id !== worker },
    });
    const [sent, got]: [string[], string[]] = [[], []];
    let receive: (from: NodeId, message: PeerMessage) => void = () => {};
    const peers = gate.guard({
      send: (to, { type }) => sent.push(`${to} ${type}`) > 0,
      bind: ({ onMessage }) => {
        receive = onMessage;
      },
    });
    peers.bind({ onMessage: (from, { type }) => void got.push(`${from} ${type}`), onUnreachable: () => {} });
    for (const id of ids(worker, learner)) {
      receive(id, envelope("MsgReadIndex", id));
      receive(id, envelope("snapshotAck", id));
      peers.send(id, envelope("snapshotChunk", 1));
      peers.send(id, raft("MsgApp", 1));
    }
    expect(got).toEqual([`${worker} snapshotAck`, `${learner} raft`, `${learner} snapshotAck`]);
    expect(sent).toEqual([`${worker} raft`, `${learner} snapshotChunk`, `${learner} raft`]);
    expect(counted).toEqual([]);
  });
});

describe("a sender for whom others vouch", () => {
  const five = { voters: ids(1, 2, 3, 8, 9) };
  const { worker, unknown, removed } = senders;

  it.each([
    ["a majority with this node", { 2: [unknown], 3: [], 8: [unknown], 9: [] }, true],
    ["less than that", { 2: [unknown], 3: [], 8: [], 9: [] }, false],
    ["a majority, of whom not all answer", { 2: [unknown], 8: [unknown] }, true],
    ["others that do not vote", { 2: [unknown], 4: [unknown], 5: [unknown] }, false],
  ] as const)("is a voter by the word of %s", async (_, words, taken) => {
    const { gate } = gateOf({ conf: five, words });
    expect(appends(gate, unknown)).toBe(false);
    await settle();
    expect(appends(gate, unknown)).toBe(taken);
    expect(gate.isVoter(unknown)).toBe(false);
  });

  it("may be one that this node knows as a worker, and not one that it knows as removed", async () => {
    const { gate, requests, asked } = gateOf({ words: { 2: [worker, removed], 3: [worker, removed] } });
    for (const id of [worker, removed]) expect(appends(gate, id)).toBe(false);
    await settle();
    expect(appends(gate, worker)).toBe(true);
    expect(appends(gate, removed)).toBe(false);
    expect(asked).toEqual([2, 3]);
    expect(requests[0]).toEqual({ id: worker, endpointId: sampleNode(worker).endpointId, appliedIndex: 10 });
  });

  it("needs the word of another, and a majority of both halves of a joint configuration", async () => {
    const alone = gateOf({ conf: { voters: ids(1) } });
    expect(appends(alone.gate, worker)).toBe(false);
    await settle();
    expect(appends(alone.gate, worker)).toBe(false);
    const joint = { voters: ids(1, 2, 3), votersOutgoing: ids(1, 8, 9) };
    for (const [words, taken] of [
      [{ 2: [unknown] }, false],
      [{ 2: [unknown], 9: [unknown] }, true],
    ] as const) {
      const { gate } = gateOf({ conf: joint, words });
      appends(gate, unknown);
      await settle();
      expect(appends(gate, unknown)).toBe(taken);
    }
  });

  it("is not asked for by a worker's word, though the applied configuration names that one still", async () => {
    const { gate, asked } = gateOf({ conf: { voters: ids(1, 2, worker) }, words: { [worker]: [unknown] } });
    appends(gate, unknown);
    await settle();
    expect(asked).toEqual([2]);
    expect(appends(gate, unknown)).toBe(false);
  });

  it("is asked about once at a time and once a second at most, and again before the words end", async () => {
    const words: Record<number, number[]> = { 2: [], 3: [] };
    const { gate, asked, clock } = gateOf({ words });
    for (let count = 0; count < 100; count++) appends(gate, unknown);
    expect(asked).toEqual([2, 3]);
    await settle();
    appends(gate, unknown);
    expect(asked).toHaveLength(2);
    words[2] = [unknown];
    await clock.advance(1_000);
    appends(gate, unknown);
    expect(asked).toHaveLength(4);
    await settle();
    expect(appends(gate, unknown)).toBe(true);
    await clock.advance(3_000);
    expect(appends(gate, unknown)).toBe(true);
    expect(asked).toHaveLength(6);
    await settle();
    words[2] = [];
    await clock.advance(4_999);
    expect(appends(gate, unknown)).toBe(true);
    await clock.advance(1);
    expect(appends(gate, unknown)).toBe(false);
  });

  it("is one only until this node has learned of members itself", async () => {
    const { gate, nodesChange, admit } = gateOf({ words: { 2: [unknown], 3: [unknown] } });
    appends(gate, unknown);
    await settle();
    expect(appends(gate, unknown)).toBe(true);
    admit(unknown, "worker");
    nodesChange();
    expect(appends(gate, unknown)).toBe(false);
  });

  it("is not asked about for what is taken from nobody", async () => {
    const { gate, asked } = gateOf({ words: { 2: [unknown], 3: [unknown] } });
    gate.admits(unknown, envelope("proposal", unknown));
    gate.admits(unknown, raft("MsgForgetLeader", unknown));
    await settle();
    expect(asked).toEqual([]);
  });
});
