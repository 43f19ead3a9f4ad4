import { BlixardError, fromUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { asNodeId } from "./core/types.ts";
import type { LogStore } from "./ports.ts";
import { AppendLogMachine, RaftGroup, type RaftMember } from "./testing/index.ts";

const id = asNodeId;

function followerOf(group: RaftGroup, leader: RaftMember): RaftMember {
  const follower = [...group.members.values()].find((member) => member.id !== leader.id);
  if (follower === undefined) throw new Error("the group has one node");
  return follower;
}

describe("RaftNode.propose", () => {
  it("elects itself and applies proposals when it is alone", async () => {
    const group = await RaftGroup.start({ voters: 1 });
    const first = await group.propose("a");
    const second = await group.propose("b");
    expect([first.result, second.result]).toEqual([1, 2]);
    expect(second.index).toBe(first.index + 1);
    expect(group.member(1).machine.values).toEqual(["a", "b"]);
    await group.close();
  });

  it("replicates to three nodes", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    for (const value of ["a", "b", "c"]) await group.propose(value);
    await group.waitForEqualState();
    for (const { machine } of group.members.values()) expect(machine.values).toEqual(["a", "b", "c"]);
    expect(group.member(1).machine.applied.confState.voters).toEqual([1, 2, 3]);
    await group.close();
  });

  it("rejects with NOT_LEADER on a follower that does not forward, and names the leader", async () => {
    const group = await RaftGroup.start({ voters: 3, options: { forwardProposals: false } });
    const leader = await group.waitForLeader();
    await group.propose("x");
    await expect(followerOf(group, leader).node.propose(fromUtf8("a"))).rejects.toMatchObject({
      code: "NOT_LEADER",
      outcome: "not_applied",
      details: { leaderId: leader.id },
    });
    await group.close();
  });

  it("refuses with OVERLOADED beyond the limit", async () => {
    const group = await RaftGroup.start({ voters: 1, options: { proposalsInFlightMax: 2 } });
    await group.propose("first");
    const { node } = group.member(1);
    const results = await Promise.allSettled(["a", "b", "c"].map((value) => node.propose(fromUtf8(value))));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
    expect(results[2]).toMatchObject({ reason: { code: "OVERLOADED", outcome: "not_applied" } });
    await group.close();
  });

  it("rejects at once when the caller's signal aborts", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    const leader = await group.waitForLeader();
    group.network.partition([leader.id], [1, 2, 3].filter((other) => other !== leader.id).map(id));
    const caller = new AbortController();
    const proposed = leader.node.propose(fromUtf8("a"), { signal: caller.signal });
    caller.abort();
    await expect(proposed).rejects.toMatchObject({ code: "CANCELLED" });
    await group.close();
  });

  it("says OUTCOME_UNKNOWN when leadership is lost and nothing tells what became of the proposal", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    const leader = await group.waitForLeader();
    group.network.partition([leader.id], [1, 2, 3].filter((other) => other !== leader.id).map(id));
    const proposed = leader.node.propose(fromUtf8("lost"));
    await expect(group.during("the outcome", proposed)).rejects.toMatchObject({
      code: "OUTCOME_UNKNOWN",
      outcome: "unknown",
    });
    await group.close();
  });

  it("says not_applied when another leader's entry was applied in its place", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    const old = await group.waitForLeader();
    await group.propose("a");
    const others = [1, 2, 3].filter((other) => other !== old.id).map(id);
    group.network.partition([old.id], others);
    const proposed = old.node.propose(fromUtf8("overwritten"));
    proposed.catch(() => {});
    const next = await group.waitForLeader(old.id);
    const written = next.node.propose(fromUtf8("b"));
    group.network.heal();
    await expect(group.during("the outcome", proposed)).rejects.toMatchObject({
      code: "PROPOSAL_DROPPED",
      outcome: "not_applied",
    });
    await group.during("the other proposal", written);
    await group.waitForEqualState();
    expect(old.machine.values).toEqual(["a", "b"]);
    await group.close();
  });
});

describe("RaftNode after failures", () => {
  it("goes on with a new leader when the leader stops", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    const old = await group.waitForLeader();
    await group.stop(old.id);
    group.members.delete(old.id);
    const next = await group.waitForLeader(old.id);
    await group.propose("b");
    await group.waitForEqualState();
    expect(next.machine.values).toEqual(["a", "b"]);
    await group.close();
  });

  it("restarts a follower from its stores and catches up", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    await group.waitForEqualState();
    const follower = followerOf(group, await group.waitForLeader());
    await group.stop(follower.id);
    await group.propose("b");
    const restarted = await group.restart(follower.id);
    await group.propose("c");
    await group.waitForEqualState();
    expect(restarted.machine.values).toEqual(["a", "b", "c"]);
    await group.close();
  });

  it("stops, tells onFatal once and rejects what waits when a log write fails", async () => {
    let broken = false;
    const breakable = (nodeId: number, log: LogStore): LogStore => ({
      load: () => log.load(),
      append: async (write) => {
        if (broken && nodeId === 1) throw new BlixardError("STORAGE_FAILED", "no space left");
        await log.append(write);
      },
      compact: (base) => log.compact(base),
      reset: (base, hardState) => log.reset(base, hardState),
      close: () => log.close(),
    });
    const group = await RaftGroup.start({ voters: 1, wrapLog: breakable });
    await group.propose("a");
    broken = true;
    const { node, fatal } = group.member(1);
    const outcomes = await Promise.allSettled([node.propose(fromUtf8("b")), node.propose(fromUtf8("c"))]);
    expect(outcomes).toMatchObject([
      { reason: { code: "STORAGE_FAILED", outcome: "unknown" } },
      { reason: { code: "STORAGE_FAILED", outcome: "unknown" } },
    ]);
    await expect(node.propose(fromUtf8("d"))).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    await expect(node.readIndex()).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    expect(fatal).toHaveLength(1);
    await group.close();
  });

  it("stops when the state machine fails", async () => {
    const group = await RaftGroup.start({ voters: 1 });
    await group.propose("a");
    const { node, fatal, machine } = group.member(1);
    machine.failure = new Error("disk gone");
    await expect(node.propose(fromUtf8("b"))).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    expect(fatal).toHaveLength(1);
    await group.close();
  });

  it("hands leadership over when its own disk is stuck, and stops when it stays stuck", async () => {
    let stuck: number | undefined;
    const stalling = (nodeId: number, log: LogStore): LogStore => ({
      load: () => log.load(),
      append: (write) => (stuck === nodeId ? new Promise(() => {}) : log.append(write)),
      compact: (base) => log.compact(base),
      reset: (base, hardState) => log.reset(base, hardState),
      close: () => log.close(),
    });
    const group = await RaftGroup.start({ voters: 3, wrapLog: stalling });
    await group.propose("a");
    const old = await group.waitForLeader();
    stuck = old.id;
    old.node.propose(fromUtf8("b")).catch(() => {});
    const next = await group.waitForLeader(old.id);
    expect(old.fatal).toHaveLength(0);
    await group.until("the stuck node to stop", () => old.fatal.length > 0);
    expect(old.fatal[0]).toMatchObject({ code: "STORAGE_FAILED" });
    await group.waitForEqualState(...[1, 2, 3].filter((other) => other !== old.id));
    expect(next.machine.values).toEqual(["a", "b"]);
  });

  it("makes progress while messages are lost and repeated", async () => {
    for (const seed of [1, 2, 3]) {
      const group = await RaftGroup.start({ voters: 3, seed });
      await group.propose("start");
      group.network.setLoss(0.2);
      const values = Array.from({ length: 20 }, (_, at) => `v${at}`);
      for (const value of values) await group.propose(value).catch(() => {});
      group.network.setLoss(0);
      await group.propose("end");
      await group.waitForEqualState();
      const [first, second, third] = [...group.members.values()].map(({ machine }) => machine.values);
      expect(second).toEqual(first);
      expect(third).toEqual(first);
      await group.close();
    }
  });
});

describe("RaftNode.readIndex", () => {
  it("resolves on the leader and on a follower with an index that covers every earlier write", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    const { index } = await group.propose("a");
    for (const { node, machine } of group.members.values()) {
      const read = await group.during("a read", node.readIndex());
      expect(read).toBeGreaterThanOrEqual(index);
      expect(machine.values).toEqual(["a"]);
    }
    await group.close();
  });

  it("answers all reads that wait together", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    const follower = followerOf(group, await group.waitForLeader());
    let requests = 0;
    group.network.filter = (from, _to, message) => {
      if (from === follower.id && message.type === "raft" && message.message.type === "MsgReadIndex") requests++;
      return true;
    };
    await group.during("reads", Promise.all(Array.from({ length: 100 }, () => follower.node.readIndex())));
    expect(requests).toBeLessThanOrEqual(2);
    await group.close();
  });

  it("asks again when the answer is lost", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    const follower = followerOf(group, await group.waitForLeader());
    let lost = 0;
    group.network.filter = (_from, to, message) => {
      const isAnswer = message.type === "raft" && message.message.type === "MsgReadIndexResp";
      return !(to === follower.id && isAnswer && lost++ < 2);
    };
    await group.during("a read", follower.node.readIndex());
    expect(lost).toBeGreaterThanOrEqual(2);
    await group.close();
  });

  it("covers what the only voter acknowledged before it was restarted", async () => {
    const group = await RaftGroup.start({ voters: 1 });
    await group.propose("a");
    const { index } = await group.propose("b");
    await group.stop(1);
    // The state is gone, and the commit index on disk is old: it is written only along with entries.
    group.members.set(id(1), { ...group.member(1), machine: new AppendLogMachine() });
    const { node, machine } = await group.restart(1);
    const read = await group.during("a read", node.readIndex());
    expect(read).toBeGreaterThanOrEqual(index);
    expect(machine.values).toEqual(["a", "b"]);
    await group.close();
  });

  it("is never answered by a leader that was cut off", async () => {
    const group = await RaftGroup.start({ voters: 3, options: { readTimeoutMs: 3_000 } });
    await group.propose("a");
    const old = await group.waitForLeader();
    group.network.partition([old.id], [1, 2, 3].filter((other) => other !== old.id).map(id));
    await expect(group.during("a read", old.node.readIndex())).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await group.close();
  });
});

describe("RaftNode snapshots", () => {
  const small = { snapshotEntries: 20, trailingEntries: 5, snapshotChunkBytes: 64 };

  it("compacts the log behind a snapshot by itself", async () => {
    const group = await RaftGroup.start({ voters: 1, options: small });
    for (let at = 0; at < 50; at++) await group.propose(`value ${at}`);
    const { node, log } = group.member(1);
    await group.until("a snapshot", () => node.status.value.snapshotIndex >= 40);
    const { base, entries } = await log.load();
    expect(base.index).toBeGreaterThanOrEqual(35);
    expect(entries.length).toBeLessThan(30);
    await group.close();
  });

  it("brings back a follower whose entries are gone from the log", async () => {
    const group = await RaftGroup.start({ voters: 3, options: small });
    await group.propose("start");
    const follower = followerOf(group, await group.waitForLeader());
    await group.stop(follower.id);
    for (let at = 0; at < 60; at++) await group.propose(`value ${at}`);
    const restarted = await group.restart(follower.id);
    await group.until("a snapshot to arrive", () => restarted.node.status.value.snapshotIndex > 0);
    await group.propose("end");
    await group.waitForEqualState();
    expect(restarted.machine.values).toHaveLength(62);
    expect((await restarted.log.load()).base.index).toBeGreaterThan(20);
    await group.close();
  });

  it("finishes a transfer through loss, and after the receiver restarted half way", async () => {
    const group = await RaftGroup.start({ voters: 3, options: { ...small, snapshotRetriesMax: 50 } });
    await group.propose("start");
    const follower = followerOf(group, await group.waitForLeader());
    await group.stop(follower.id);
    for (let at = 0; at < 60; at++) await group.propose(`value ${at}`);
    let chunks = 0;
    group.network.filter = (_from, _to, message) => message.type !== "snapshotChunk" || chunks++ % 3 !== 1;
    await group.restart(follower.id);
    await group.until("some chunks", () => chunks >= 6);
    await group.stop(follower.id);
    const again = await group.restart(follower.id);
    await group.until("the snapshot", () => again.node.status.value.snapshotIndex > 0);
    await group.waitForEqualState();
    expect(again.machine.values).toHaveLength(61);
    await group.close();
  });

  it("sends a lost chunk again, not the whole snapshot", async () => {
    const group = await RaftGroup.start({ voters: 3, options: small });
    await group.propose("start");
    const follower = followerOf(group, await group.waitForLeader());
    await group.stop(follower.id);
    for (let at = 0; at < 60; at++) await group.propose(`value ${at}`);
    const offsets: number[] = [];
    group.network.filter = (_from, _to, message) => {
      if (message.type !== "snapshotChunk") return true;
      offsets.push(message.offset);
      return offsets.length !== 3;
    };
    const restarted = await group.restart(follower.id);
    await group.until("the snapshot", () => restarted.node.status.value.snapshotIndex > 0);
    expect(offsets.slice(0, 5)).toEqual([0, 64, 128, 128, 192]);
    expect(offsets.filter((offset) => offset === 0)).toHaveLength(1);
    await group.close();
  });

  it("restores the state at the start when a crash came between saving a snapshot and installing it", async () => {
    const group = await RaftGroup.start({ voters: 3, options: small });
    await group.propose("start");
    const leader = await group.waitForLeader();
    const follower = followerOf(group, leader);
    await group.waitForEqualState();
    await group.stop(follower.id);
    for (let at = 0; at < 60; at++) await group.propose(`value ${at}`);
    const meta = await leader.snapshots.latest();
    if (meta === undefined) throw new Error("the leader has no snapshot");
    const bytes = await leader.snapshots.read(meta.index, 0, meta.sizeBytes);
    await follower.snapshots.save(
      meta,
      (async function* () {
        yield bytes;
      })(),
    );
    const restarted = await group.restart(follower.id);
    expect(restarted.machine.applied.index).toBe(meta.index);
    expect((await restarted.log.load()).base.index).toBe(meta.index);
    await group.waitForEqualState();
    expect(restarted.machine.values).toHaveLength(61);
    await group.close();
  });

  it("refuses to start with STORAGE_CORRUPT when the log lost entries that the state has", async () => {
    const group = await RaftGroup.start({ voters: 1 });
    await group.propose("a");
    await group.stop(1);
    const { log } = group.member(1);
    const contents = await log.load();
    await log.reset(contents.base, contents.hardState);
    await expect(group.restart(1)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  });
});

describe("RaftNode membership", () => {
  it("adds a learner, promotes it, and removes a member", async () => {
    const group = await RaftGroup.start({ voters: 1 });
    await group.propose("a");
    const joiner = await group.addNode(2);
    await group.changeMembers({ op: "addLearner", id: id(2) });
    await group.propose("b");
    await group.waitForEqualState();
    expect(joiner.machine.values).toEqual(["a", "b"]);
    expect(joiner.node.status.value.confState.learners).toEqual([2]);
    await group.changeMembers({ op: "addVoter", id: id(2) });
    await group.waitForEqualState();
    expect(joiner.node.status.value.confState.voters).toEqual([1, 2]);
    await group.changeMembers({ op: "remove", id: id(2) });
    await group.propose("c");
    expect(group.member(1).node.status.value.confState.voters).toEqual([1]);
    expect(group.member(1).machine.values).toEqual(["a", "b", "c"]);
    await group.close();
  });

  it("brings a joiner up with a snapshot when the first entries are gone", async () => {
    const group = await RaftGroup.start({ voters: 1, options: { snapshotEntries: 10, trailingEntries: 0 } });
    for (let at = 0; at < 30; at++) await group.propose(`value ${at}`);
    const joiner = await group.addNode(2);
    await group.changeMembers({ op: "addLearner", id: id(2) });
    // The snapshot at hand was taken before the joiner was a member, so the leader has to take another one.
    await group.waitForEqualState();
    expect(joiner.machine.values).toHaveLength(30);
    await group.close();
  });

  it("removes the leader, and the others go on", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    const old = await group.waitForLeader();
    await group.changeMembers({ op: "remove", id: old.id });
    await group.stop(old.id);
    group.members.delete(old.id);
    const next = await group.waitForLeader(old.id);
    await group.propose("b");
    expect(next.machine.values).toEqual(["a", "b"]);
    expect(next.node.status.value.confState.voters).not.toContain(old.id);
    await group.close();
  });

  it("refuses a second change while one is pending", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    const leader = await group.waitForLeader();
    const add = (learner: number) =>
      leader.node.proposeConfChange({
        version: 1,
        transition: "auto",
        changes: [{ op: "addLearner", id: id(learner) }],
      });
    const results = await group.during("both changes", Promise.allSettled([add(8), add(9)]));
    expect(results[0]).toMatchObject({ status: "fulfilled", value: { learners: [8] } });
    expect(results[1]).toMatchObject({ reason: { code: "CONFLICT", outcome: "not_applied" } });
    await group.close();
  });

  it("hands leadership to the node that is asked for", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    const leader = await group.waitForLeader();
    const to = followerOf(group, leader);
    await group.during("the transfer", leader.node.transferLeader(to.id));
    expect(leader.node.status.value.leaderId).toBe(to.id);
    await expect(leader.node.transferLeader(to.id)).rejects.toMatchObject({ code: "NOT_LEADER" });
    await group.close();
  });
});

describe("RaftNode.close", () => {
  it("rejects what waits and everything after with STOPPED", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    const { node } = group.member(1);
    const read = node.readIndex();
    const outcome = expect(read).rejects.toMatchObject({ code: "STOPPED" });
    await node.close();
    await node.close();
    await outcome;
    await expect(node.propose(fromUtf8("a"))).rejects.toMatchObject({ code: "STOPPED" });
    await group.close();
  });
});
