import { fromUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import type { RaftNodeEvent } from "./node-events.ts";
import { NodeEvents } from "./node-events.ts";
import { RaftGroup, type RaftMember, settle } from "./testing/index.ts";

/** Gathers the events of a node from now on. */
function record({ node }: RaftMember): RaftNodeEvent[] {
  const events: RaftNodeEvent[] = [];
  (async () => {
    for await (const event of node.events()) events.push(event);
  })();
  return events;
}

const small = { snapshotEntries: 20, trailingEntries: 5, snapshotChunkBytes: 64 };

async function groupWithLateFollower() {
  const group = await RaftGroup.start({ voters: 3, options: { ...small, snapshotRetriesMax: 3 } });
  await group.propose("start");
  const leader = await group.waitForLeader();
  const follower = [...group.members.values()].find((member) => member.id !== leader.id) as RaftMember;
  await group.stop(follower.id);
  for (let at = 0; at < 60; at++) await group.propose(`value ${at}`);
  return { group, leader: await group.waitForLeader(), follower };
}

describe("RaftNode.close", () => {
  it("hands leadership over first when asked to, and sees the outcome of what was proposed", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    const old = await group.waitForLeader();
    const proposed = old.node.propose(fromUtf8("b"));
    const closed = group.during("the stop", old.node.close({ transfer: true }));
    expect((await proposed).result).toBe(2);
    await closed;
    group.network.unbind(old.id);
    group.members.delete(old.id);
    // There is a leader already: nobody had to wait for an election timeout.
    const next = [...group.members.values()].find(({ node }) => node.status.value.role === "StateLeader");
    expect(next?.id).toBeDefined();
    await group.propose("c");
    await group.close();
  });

  it("closes all the same when nobody can take over", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    const old = await group.waitForLeader();
    group.network.filter = () => false;
    const proposed = old.node.propose(fromUtf8("b"));
    const outcome = expect(proposed).rejects.toMatchObject({ outcome: "unknown" });
    await group.during("the stop", old.node.close({ transfer: true }));
    await outcome;
    await group.close();
  });
});

describe("RaftNode snapshot transfer", () => {
  it("goes on where it was when the connection breaks for long", async () => {
    const { group, leader, follower } = await groupWithLateFollower();
    const offsets: number[] = [];
    let cut = false;
    group.network.filter = (_from, _to, message) => {
      if (message.type !== "snapshotChunk") return !cut || message.type !== "snapshotAck";
      if (!cut) offsets.push(message.offset);
      if (offsets.length === 4) cut = true;
      return !cut;
    };
    const events = record(leader);
    const restarted = await group.restart(follower.id);
    await group.until("a part of it", () => cut);
    const ended = () => events.find((event) => event.type === "snapshotSendEnded");
    await group.until("the leader to give up", () => ended() !== undefined, 120_000);
    expect(ended()).toMatchObject({ ok: false, reason: "the peer does not answer" });
    const before = offsets.length;
    offsets.push(-1);
    cut = false;
    await group.until("the snapshot", () => restarted.node.status.value.snapshotIndex > 0);
    expect(offsets[before + 1]).toBe(offsets[before - 1]);
    expect(offsets.filter((offset) => offset === 0)).toHaveLength(1);
    await group.waitForEqualState();
    expect(restarted.machine.values).toHaveLength(61);
    const started = events.filter((event) => event.type === "snapshotSendStarted");
    expect(started.at(-1)).toMatchObject({ fromOffset: expect.any(Number), to: follower.id });
    expect(events).toContainEqual(expect.objectContaining({ type: "snapshotSendEnded", ok: true }));
    await group.close();
  });

  it("is dropped for a newer snapshot", async () => {
    const { group, leader, follower } = await groupWithLateFollower();
    let chunks = 0;
    group.network.filter = (_from, _to, message) => message.type !== "snapshotChunk" || chunks++ < 3;
    const restarted = await group.restart(follower.id);
    const events = record(restarted);
    await group.until("a part of it", () => chunks >= 3);
    await group.propose("one more");
    const index = await group.during("a newer snapshot", leader.node.takeSnapshot());
    group.network.filter = () => true;
    await group.until("the newer one", () => restarted.node.status.value.snapshotIndex >= index, 300_000);
    expect(events).toContainEqual(
      expect.objectContaining({ type: "snapshotReceiveEnded", ok: false, reason: "a newer snapshot supersedes it" }),
    );
    await group.waitForEqualState();
    expect(restarted.machine.values).toHaveLength(62);
    await group.close();
  });

  it("is not cut off by the snapshots that the log asks for meanwhile", async () => {
    const { group, leader, follower } = await groupWithLateFollower();
    const before = leader.node.status.value.snapshotIndex;
    group.network.filter = (_from, _to, message) => message.type !== "snapshotChunk";
    await group.restart(follower.id);
    const events = record(leader);
    await group.until("a transfer", () => events.some(({ type }) => type === "snapshotSendStarted"));
    for (let at = 0; at < 30; at++) await group.during("a proposal", leader.node.propose(fromUtf8(`more ${at}`)));
    expect(leader.node.status.value.snapshotIndex).toBe(before);
    await group.close();
  });
});

describe("RaftNode.events", () => {
  it("tells of elections, snapshots and the end, typed", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    const all = [...group.members.values()].map((one) => ({ one, events: record(one) }));
    await group.propose("a");
    const member = await group.waitForLeader();
    const events = all.find(({ one }) => one.id === member.id)?.events ?? [];
    await member.node.takeSnapshot();
    await group.propose("b");
    machineFails(member);
    await expect(member.node.propose(fromUtf8("c"))).rejects.toMatchObject({ outcome: "unknown" });
    await group.close();
    await settle();
    const types = events.map(({ type }) => type);
    for (const type of ["becameLeader", "leaderChanged", "snapshotTaken", "failed"]) expect(types).toContain(type);
  });

  it("ends with its signal", async () => {
    const group = await RaftGroup.start({ voters: 1 });
    const caller = new AbortController();
    const all = (async () => {
      const seen: RaftNodeEvent[] = [];
      for await (const event of group.member(1).node.events({ signal: caller.signal })) seen.push(event);
      return seen;
    })();
    caller.abort();
    expect(await all).toEqual([]);
    await group.close();
  });

  it("keeps the newest for a slow reader, and says how many it lost", async () => {
    const events = new NodeEvents();
    const reader = events.listen(undefined);
    for (let count = 1; count <= 3_000; count++) events.emit({ type: "eventsLost", count });
    expect(await reader.next()).toEqual({ done: false, value: { type: "eventsLost", count: 1_976 } });
    expect(await reader.next()).toEqual({ done: false, value: { type: "eventsLost", count: 1_977 } });
    events.end();
    let rest = 0;
    for await (const _ of reader) rest++;
    expect(rest).toBe(1_023);
  });
});

function machineFails({ machine }: RaftMember): void {
  machine.failure = new Error("disk gone");
}
