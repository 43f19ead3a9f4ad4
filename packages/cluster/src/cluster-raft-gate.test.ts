/** Raft messages by the role of their sender, in clusters over a network in memory. */
import { discardMetrics, type Labels, type Metrics } from "@blixard/common";
import {
  asLogIndex,
  asNodeId,
  asTerm,
  type Entry,
  emptyConfState,
  type Message,
  type MessageType,
  type PeerMessage,
} from "@blixard/raft";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup, until } from "./testing/cluster-group.ts";
import { endpointIdOf } from "./testing/memory-cluster-network.ts";

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  group.network.passes = () => true;
  await group.close();
});

const voters = [1, 2, 3];
const status = (id: number) => group.node(id).status();
const put = (at: number, key: string, value = "") => group.call(at, "kv.put", { key, value });
const has = (id: number, key: string) => group.node(id).state.kv.has(key);

describe("a worker that was taken over", () => {
  const worker = 4;
  let refusals: (Labels | undefined)[];

  beforeEach(async () => {
    refusals = [];
    const metrics: Metrics = {
      ...discardMetrics,
      counter: ({ name }) => ({
        // Each series is there from the start, with nothing in it.
        add: (count = 1, labels = {}) => {
          if (name === "blixard_raft_messages_refused_total" && count > 0) refusals.push(labels);
        },
      }),
    };
    for (const id of voters) group.machine(id).metrics = metrics;
    await group.form(3);
    await group.join(worker, await group.ticket({ role: "worker" }));
    await until(() => group.leader()?.status().members.length === 4);
    await group.machine(worker).stop();
  });

  /** What the key of the worker says to each voter: as the leader of the next term, of the log as it really is. */
  function forged(type: MessageType, to: number): Message {
    const { term, lastLogIndex, lastLogTerm } = status(to);
    const next = asTerm(term + 1);
    const index = asLogIndex(lastLogIndex);
    const entries: Entry[] = [{ term: next, index: asLogIndex(index + 1), kind: "normal", data: Uint8Array.of(1) }];
    const confState = { ...emptyConfState(), voters: voters.map(asNodeId), learners: [asNodeId(worker)] };
    const snapshot = { index: asLogIndex(index + 5), term: next, confState, data: new Uint8Array(0) };
    return {
      ...{ type, from: asNodeId(worker), to: asNodeId(to), term: next, logTerm: asTerm(lastLogTerm), index },
      ...{ commit: type === "MsgApp" ? asLogIndex(index + 1) : index, vote: asNodeId(0) },
      ...{ reject: false, rejectHint: asLogIndex(0), entries: type === "MsgApp" ? entries : [] },
      ...(type === "MsgSnap" ? { snapshot } : {}),
      // As when a leader asks for it: no lease holds that off.
      ...(type === "MsgVote" ? { context: new TextEncoder().encode("CampaignTransfer") } : {}),
    };
  }

  const raft =
    (type: MessageType) =>
    (to: number): PeerMessage => ({ type: "raft", message: forged(type, to) });
  const attacks: Readonly<Record<string, (to: number) => PeerMessage>> = {
    MsgApp: raft("MsgApp"),
    MsgHeartbeat: raft("MsgHeartbeat"),
    MsgSnap: raft("MsgSnap"),
    MsgVote: raft("MsgVote"),
    MsgTimeoutNow: raft("MsgTimeoutNow"),
    MsgAppResp: raft("MsgAppResp"),
    MsgHeartbeatResp: raft("MsgHeartbeatResp"),
    snapshotChunk: (to) => {
      const data = Uint8Array.of(1, 2, 3);
      return { type: "snapshotChunk", message: forged("MsgSnap", to), sizeBytes: data.length, offset: 0, data };
    },
  };

  const seen = async () => {
    const index = Math.min(...voters.map((id) => status(id).appliedIndex));
    const hashes = voters.map((id) => group.call(id, "debug.stateHash", { index }));
    return {
      ...{ index, hashes: await Promise.all(hashes) },
      nodes: voters.map((id) => {
        const { term, leaderId, lastLogIndex, lastLogTerm } = status(id);
        return { term, leaderId, lastLogIndex, lastLogTerm };
      }),
    };
  };

  it.each(Object.keys(attacks))("changes nothing with %s of a higher term", async (type) => {
    // Nothing is under way any more: all voters have the same log, applied.
    await until(() => new Set(voters.flatMap((id) => [status(id).lastLogIndex, status(id).appliedIndex])).size === 1);
    const before = await seen();
    const { peers } = group.network.join(worker, endpointIdOf(worker)).transport;
    for (const id of voters) peers.send(asNodeId(id), attacks[type]?.(id) as PeerMessage);
    await until(() => refusals.length >= voters.length);
    expect(refusals).toEqual(voters.map(() => ({ type, role: "worker" })));
    // A round of messages between the voters: whatever came before has taken effect by now.
    await Promise.all(voters.map((id) => group.call(id, "kv.get", { key: "none" }).catch(() => {})));
    expect(await seen()).toEqual(before);
  });
});

describe("voters that some do not know as such", () => {
  const isVoter = (id: number) => status(id).role !== "learner";
  const bringsAddVoter = (message: PeerMessage, id: number) =>
    message.type === "raft" &&
    message.message.entries.some(
      (entry) =>
        entry.kind === "confChange" && entry.change.changes.some((one) => one.op === "addVoter" && one.id === id),
    );

  it("are elected by those when a majority of five knows the last changes no more", async () => {
    await group.form(3);
    if (group.leaderId() !== 1) await group.call(1, "leader.transfer", { to: 1 });
    group.network.cut(3, true);
    await group.join(4, await group.ticket());
    await until(() => isVoter(4) && has(2, "none") === false && group.node(2).state.nodes.size === 4);
    // Node 2 has the entry that makes 5 a voter, which needs it, and does not hear that it is committed.
    let known = Number.POSITIVE_INFINITY;
    group.network.passes = (to, message) => {
      if (to !== 2 || message.type !== "raft") return true;
      if (bringsAddVoter(message, 5)) known = message.message.entries[0]?.index ?? known;
      return message.message.commit < known;
    };
    await group.join(5, await group.ticket());
    await until(() => isVoter(5) && status(1).members.length === 5);
    group.network.cut(2, true);
    await put(1, "after");
    group.network.passes = () => true;
    await until(() => has(4, "after") && has(5, "after"));
    expect([2, 3].map((id) => group.node(id).state.nodes.has("00005"))).toEqual([true, false]);
    // Those with the last entry: 4 alone, which needs the votes of 2 and 3.
    for (const id of [1, 5]) group.network.cut(id, true);
    for (const id of [2, 3]) group.network.cut(id, false);
    await until(() => [2, 3, 4].every((id) => status(id).leaderId === 4));
    await put(3, "later");
    await until(() => [2, 3, 4].every((id) => has(id, "later")));
  });

  it("lead one that missed their promotion from a worker", async () => {
    await group.form(3);
    await group.join(4, await group.ticket({ role: "worker" }));
    await until(() => group.nodes().every(({ state }) => state.nodes.size === 4));
    if (group.leaderId() === 3) await group.call(1, "leader.transfer", { to: 1 });
    group.network.cut(3, true);
    await group.call(1, "member.setRole", { id: 4, role: "voter" });
    await until(() => isVoter(4));
    await group.call(1, "leader.transfer", { to: 4 });
    await put(1, "promoted");
    expect(group.node(3).state.nodes.get("00004")?.role).toBe("worker");
    group.network.cut(3, false);
    await until(() => status(3).leaderId === 4 && has(3, "promoted"));
    expect(group.leaderId()).toBe(4);
  });

  it("are vouched for by their key, and by none whose state is older than that of the one who asks", async () => {
    await group.form(2);
    await group.join(4, await group.ticket({ role: "worker" }));
    await until(() => group.nodes().every(({ state }) => state.nodes.size === 3));
    const ask = async (id: number, key: number, appliedIndex: number) => {
      const request = { id, endpointId: endpointIdOf(key), appliedIndex };
      return (await group.call(1, "member.vouch", request, { access: "node", actor: { kind: "node", id: "2" } }))
        .vouches;
    };
    const { appliedIndex } = status(1);
    expect(await ask(2, 2, appliedIndex)).toBe(true);
    expect(await ask(2, 2, appliedIndex + 100)).toBe(false);
    expect(await ask(2, 4, appliedIndex)).toBe(false);
    expect(await ask(4, 4, appliedIndex)).toBe(false);
    expect(await ask(9, 9, appliedIndex)).toBe(false);
  });
});
