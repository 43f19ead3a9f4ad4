import { describe, expect, it } from "@jest/globals";
import { malformation, newMessage } from "./messages.ts";
import { CoreGroup } from "./testing/core-group.ts";
import { asLogIndex, asNodeId, asTerm, type Message, type MessageType, noNode } from "./types.ts";

const [one, two, nine] = [asNodeId(1), asNodeId(2), asNodeId(9)];
const message = (type: MessageType, fields: Partial<Message> = {}): Message => ({
  ...newMessage(type, two, one, asTerm(1)),
  ...fields,
});
const normal = (index: number, term: number) =>
  ({ index: asLogIndex(index), term: asTerm(term), kind: "normal", data: new Uint8Array() }) as const;

describe("malformation", () => {
  it("finds nothing wrong with a sound message", () => {
    const entries = [normal(5, 1), normal(6, 2)];
    expect(malformation(message("MsgApp", { index: asLogIndex(4), term: asTerm(2), entries }), one)).toBeUndefined();
    expect(malformation(message("MsgAppResp", { from: one }), one)).toBeUndefined();
    expect(malformation(message("MsgAppResp", { term: asTerm(0) }), one)).toBeUndefined();
    expect(malformation(message("MsgProp", { term: asTerm(0), entries: [normal(0, 0)] }), one)).toBeUndefined();
  });

  it.each<[string, Message]>([
    ["no index", message("MsgApp", { index: asLogIndex(-1) })],
    ["no index", message("MsgHeartbeat", { commit: asLogIndex(1.5) })],
    ["no index", message("MsgVote", { term: asTerm(2 ** 53) })],
    ["the sender is no node", message("MsgApp", { from: "append" })],
    ["the sender is missing", message("MsgVote", { from: noNode })],
    ["the sender is this node", message("MsgApp", { from: one })],
    ["the term is missing", message("MsgHeartbeat", { term: asTerm(0) })],
    ["not contiguous", message("MsgApp", { entries: [normal(2, 1)] })],
    ["terms of the entries fall", message("MsgApp", { term: asTerm(3), entries: [normal(1, 3), normal(2, 2)] })],
    ["newer than its sender", message("MsgApp", { entries: [normal(1, 2)] })],
    ["there is no entry", message("MsgProp")],
  ])("finds that %s", (reason, broken) => {
    expect(malformation(broken, one)).toContain(reason);
  });
});

describe("RaftCore.step", () => {
  const stateOf = (group: CoreGroup) => JSON.stringify(group.nodes.map(({ core }) => core.status()));

  it("refuses messages that only the node itself may step", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    for (const type of ["MsgHup", "MsgBeat", "MsgCheckQuorum", "MsgSnapStatus", "MsgStorageApplyResp"] as const) {
      expect(() => group.core(1).step(message(type))).toThrow(expect.objectContaining({ code: "STEP_LOCAL_MSG" }));
    }
  });

  it("refuses answers from outside the configuration", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    // Whatever else is wrong with them, as in etcd.
    for (const term of [asTerm(1), asTerm(0)]) {
      expect(() => group.core(1).step(message("MsgVoteResp", { from: nine, term }))).toThrow(
        expect.objectContaining({ code: "STEP_PEER_NOT_FOUND" }),
      );
    }
  });

  it("counts what a follower that knows no term yet acknowledges", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    const index = group.core(1).propose(new Uint8Array(3)) ?? asLogIndex(0);
    group.core(1).step(message("MsgAppResp", { term: asTerm(0), index }));
    const peers = group.core(1).status().progress;
    expect(peers.find(({ id }) => id === two)?.match).toBe(index);
  });

  it("drops malformed messages with nothing changed but an event", () => {
    const reasons: string[] = [];
    const group = new CoreGroup({
      voters: [1, 2, 3],
      config: { onEvent: (event) => event.type === "messageIgnored" && reasons.push(event.reason) },
    });
    group.elect(1);
    reasons.length = 0;
    const before = stateOf(group);
    const term = asTerm(9);
    group.core(1).step(message("MsgApp", { term, entries: [normal(7, 1)] }));
    group.core(1).step(message("MsgHeartbeat", { term, commit: asLogIndex(Number.NaN) }));
    group.core(1).step(message("MsgVote", { term, from: one }));
    expect(reasons).toHaveLength(3);
    expect(stateOf(group)).toBe(before);
  });

  it("survives every sound type of message from strangers, in any role", () => {
    const types: MessageType[] = ["MsgApp", "MsgSnap", "MsgHeartbeat", "MsgVote", "MsgPreVote", "MsgTimeoutNow"];
    types.push("MsgReadIndex", "MsgTransferLeader", "MsgForgetLeader", "MsgReadIndexResp", "MsgProp");
    for (const elected of [1, 2]) {
      for (const type of types) {
        const group = new CoreGroup({ voters: [1, 2, 3], config: { preVote: true, checkQuorum: true } });
        group.elect(elected);
        const stranger = message(type, { from: nine, entries: type === "MsgApp" ? [] : [normal(0, 0)] });
        expect(() => group.deliver(stranger)).not.toThrow();
        group.settle();
      }
    }
  });

  it("does not commit entries that it lost, when a heartbeat counts on them", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    const { term, commit } = group.core(2).status();
    group.core(2).step(message("MsgHeartbeat", { from: one, to: two, term, commit: asLogIndex(commit + 5) }));
    expect(group.core(2).status().commit).toBe(commit);
  });
});
