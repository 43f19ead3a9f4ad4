import { describe, expect, it } from "@jest/globals";
import { newMessage } from "./messages.ts";
import { CoreGroup, type CoreGroupOptions } from "./testing/core-group.ts";
import { asNodeId, type Message } from "./types.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const readsOf = (group: CoreGroup, id: number) =>
  group.node(id).reads.map(({ index, context }) => [String.fromCharCode(...context), index]);

function elected(options: Partial<CoreGroupOptions> = {}): CoreGroup {
  const group = new CoreGroup({ voters: [1, 2, 3], ...options });
  group.elect(1);
  return group;
}

describe("RaftCore.readIndex", () => {
  it("answers when a quorum has confirmed the leader", () => {
    const group = elected();
    group.core(1).readIndex(bytes("a"));
    group.process(1);
    expect(group.network.map(({ type, to }) => [type, to])).toEqual([
      ["MsgHeartbeat", 2],
      ["MsgHeartbeat", 3],
    ]);
    expect(readsOf(group, 1)).toEqual([]);
    group.settle(({ to, from }) => to !== 3 && from !== 3);
    expect(readsOf(group, 1)).toEqual([["a", 2]]);
  });

  it("gives no answer without a quorum", () => {
    const group = elected();
    group.core(1).readIndex(bytes("a"));
    group.settle(() => false);
    expect(readsOf(group, 1)).toEqual([]);
  });

  it("tries again with the next heartbeat", () => {
    const group = elected();
    group.core(1).readIndex(bytes("a"));
    group.settle(() => false);
    group.tick(1);
    group.settle();
    expect(readsOf(group, 1)).toEqual([["a", 2]]);
  });

  it("is not confirmed by answers to heartbeats that left before the read came in", () => {
    const group = elected();
    group.tick(1);
    group.process(1);
    const early = group.network;
    group.network = [];
    group.core(1).readIndex(bytes("a"));
    group.process(1);
    group.network = early;
    group.settle();
    expect(readsOf(group, 1)).toEqual([]);
  });

  it("is not confirmed by an answer that names a later read than there was", () => {
    const group = elected();
    group.core(1).readIndex(bytes("a"));
    group.process(1);
    const [heartbeat] = group.network;
    group.settle();
    if (heartbeat === undefined) throw new Error("nobody was asked");
    // Whatever it names, it left before the next read came in.
    const answer = (from: number, context: Uint8Array) =>
      group.deliver(newMessage("MsgHeartbeatResp", asNodeId(from), asNodeId(1), heartbeat.term, { context }));
    answer(2, new Uint8Array(8).fill(1));
    group.core(1).readIndex(bytes("b"));
    answer(3, heartbeat.context ?? new Uint8Array());
    group.settle(() => false);
    expect(readsOf(group, 1)).toEqual([["a", 2]]);
    group.tick(1);
    group.settle();
    expect(readsOf(group, 1)).toEqual([
      ["a", 2],
      ["b", 2],
    ]);
  });

  it("confirms all earlier reads together, in order", () => {
    const group = elected();
    for (const text of ["a", "b", "c"]) group.core(1).readIndex(bytes(text));
    group.settle((message: Message) => message.type !== "MsgHeartbeat" || message.context?.[0] === 3);
    expect(readsOf(group, 1)).toEqual([
      ["a", 2],
      ["b", 2],
      ["c", 2],
    ]);
  });

  it("is forwarded by followers and learners, and answered there", () => {
    const group = elected({ voters: [1, 2, 3], learners: [4] });
    group.core(2).readIndex(bytes("a"));
    group.core(4).readIndex(bytes("b"));
    group.settle();
    expect(readsOf(group, 1)).toEqual([]);
    expect(readsOf(group, 2)).toEqual([["a", 2]]);
    expect(readsOf(group, 4)).toEqual([["b", 2]]);
  });

  it("is dropped where no leader is known", () => {
    const dropped: string[] = [];
    const group = new CoreGroup({
      voters: [1, 2, 3],
      config: { onEvent: (event) => event.type === "readDropped" && dropped.push(event.reason) },
    });
    group.core(2).readIndex(bytes("a"));
    group.settle();
    expect(dropped).toEqual(["no_leader"]);
  });

  it("waits for the first commit of a new leader's term", () => {
    const group = elected();
    group.core(2).campaign();
    group.settle(({ type }) => type !== "MsgApp");
    expect(group.core(2).status()).toMatchObject({ role: "StateLeader", commit: 2 });
    group.core(2).readIndex(bytes("a"));
    group.settle(({ type }) => type !== "MsgApp");
    expect(readsOf(group, 2)).toEqual([]);
    group.tick(2);
    group.settle();
    expect(readsOf(group, 2)).toEqual([["a", 3]]);
  });

  it("needs nobody else in a group of one voter", () => {
    const group = new CoreGroup({ voters: [1], learners: [2] });
    group.elect(1);
    group.core(1).readIndex(bytes("a"));
    group.core(2).readIndex(bytes("b"));
    group.settle();
    expect(readsOf(group, 1)).toEqual([["a", 2]]);
    expect(readsOf(group, 2)).toEqual([["b", 2]]);
  });

  it("is answered at once under a lease", () => {
    const group = elected({ config: { readOnly: "lease-based", checkQuorum: true } });
    group.core(1).readIndex(bytes("a"));
    group.settle(() => false);
    expect(readsOf(group, 1)).toEqual([["a", 2]]);
  });

  it("forgets unconfirmed reads when leadership is lost", () => {
    const group = elected();
    group.core(1).readIndex(bytes("a"));
    group.settle(() => false);
    group.core(2).campaign();
    group.settle();
    group.core(1).campaign();
    group.settle();
    group.core(1).readIndex(bytes("b"));
    group.settle();
    expect(readsOf(group, 1).map(([context]) => context)).toEqual(["b"]);
  });

  it("needs both halves of a joint configuration", () => {
    const group = elected();
    const changes = [2, 3].map((id) => ({ op: "remove", id: group.node(id).id }) as const);
    group.core(1).proposeConfChange({ version: 2, transition: "explicit", changes });
    group.settle();
    group.core(1).readIndex(bytes("a"));
    group.settle(() => false);
    expect(readsOf(group, 1)).toEqual([]);
    group.tick(1);
    group.settle();
    expect(readsOf(group, 1)).toHaveLength(1);
  });
});
