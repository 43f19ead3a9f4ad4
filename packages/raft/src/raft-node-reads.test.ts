import { fromUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { asLogIndex, asNodeId, asTerm } from "./core/types.ts";
import type { LogStore } from "./ports.ts";
import { RaftGroup, type RaftMember } from "./testing/index.ts";

const id = asNodeId;
const lease = { consistency: "lease" } as const;

async function startedGroup(options = {}) {
  const group = await RaftGroup.start({ voters: 3, options });
  await group.propose("start");
  await group.waitForEqualState();
  return { group, leader: await group.waitForLeader() };
}

function othersOf(group: RaftGroup, { id: own }: RaftMember): RaftMember[] {
  return [...group.members.values()].filter((member) => member.id !== own);
}

/** Counts the heartbeats that carry a read. */
function countRounds(group: RaftGroup): () => number {
  let rounds = 0;
  group.network.filter = (_from, _to, message) => {
    if (message.type === "raft" && message.message.type === "MsgHeartbeat" && message.message.context) rounds++;
    return true;
  };
  return () => rounds;
}

describe("RaftNode.read", () => {
  it("is linearizable by itself, on every node", async () => {
    const { group } = await startedGroup();
    const { index } = await group.propose("a");
    for (const { node } of group.members.values()) {
      expect(await group.during("a read", node.read())).toBeGreaterThanOrEqual(index);
    }
    await group.close();
  });

  it("answers at once what was applied here when it may be stale, also on a node that is cut off", async () => {
    const { group, leader } = await startedGroup();
    const [cut] = othersOf(group, leader);
    if (cut === undefined) throw new Error("the group has one node");
    group.network.partition([cut.id], [1, 2, 3].filter((other) => other !== cut.id).map(id));
    await group.propose("a");
    expect(await cut.node.read({ consistency: "stale" })).toBe(cut.machine.applied.index);
    expect(cut.machine.values).toEqual(["start"]);
    await group.close();
  });

  it("needs no round trip while the lease of the leader holds", async () => {
    const { group, leader } = await startedGroup({ leaseReads: true });
    const rounds = countRounds(group);
    await group.during("the first read", leader.node.read(lease));
    const first = rounds();
    expect(first).toBeGreaterThan(0);
    const { index } = await group.propose("a");
    expect(await leader.node.read(lease)).toBeGreaterThanOrEqual(index);
    expect(rounds()).toBe(first);
    await group.clock.advance(1_000);
    await group.during("a read after the lease", leader.node.read(lease));
    expect(rounds()).toBeGreaterThan(first);
    await group.close();
  });

  it("asks a quorum for a lease read on a follower, and where leases are off", async () => {
    for (const leaseReads of [true, false]) {
      const { group, leader } = await startedGroup({ leaseReads });
      const rounds = countRounds(group);
      const [follower] = othersOf(group, leader);
      const { node } = leaseReads ? (follower as RaftMember) : leader;
      await group.during("a read", node.read(lease));
      const first = rounds();
      await group.during("a read", node.read(lease));
      expect(first).toBeGreaterThan(0);
      expect(rounds()).toBeGreaterThan(first);
      await group.close();
    }
  });

  it("never answers by a lease that outlives the next election", async () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const group = await RaftGroup.start({ voters: 3, seed, options: { leaseReads: true, readTimeoutMs: 500 } });
      await group.propose("start");
      const old = await group.waitForLeader();
      await group.during("a read", old.node.read(lease));
      group.network.partition([old.id], [1, 2, 3].filter((other) => other !== old.id).map(id));
      const next = await group.waitForLeader(old.id);
      const { index } = await group.during("a write", next.node.propose(fromUtf8("new")));
      const read = group.during("a stale lease", old.node.read(lease));
      await expect(read).rejects.toMatchObject({ code: "UNAVAILABLE" });
      expect(index).toBeGreaterThan(old.machine.applied.index);
      await group.close();
    }
  });

  it("answers by no lease after its machine slept, with the monotonic clock or without it", async () => {
    for (const stop of ["sleep", "standStill"] as const) {
      const { group, leader } = await startedGroup({ leaseReads: true });
      await group.during("a read", leader.node.read(lease));
      const rounds = countRounds(group);
      await leader.node.read(lease);
      expect(rounds()).toBe(0);
      group.clock[stop](3_000);
      // The others may have elected somebody meanwhile, so this one has to ask.
      await group.during("a read", leader.node.read(lease));
      expect(rounds()).toBeGreaterThan(0);
      await group.close();
    }
  });

  it("gives no lease reads any more in a term in which leadership was offered to another node", async () => {
    const { group, leader } = await startedGroup({ leaseReads: true });
    await group.during("a read", leader.node.read(lease));
    group.network.filter = (_from, _to, message) => message.type !== "raft" || message.message.type !== "MsgTimeoutNow";
    const [other] = othersOf(group, leader);
    const transfer = leader.node.transferLeader(other?.id ?? id(0));
    await expect(group.during("a transfer", transfer)).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    const rounds = countRounds(group);
    for (let reads = 1; reads <= 2; reads++) {
      await group.during("a read", leader.node.read(lease));
      expect(rounds()).toBeGreaterThanOrEqual(2 * reads);
    }
    await group.close();
  });

  it("lets a restarted node vote only after an election timeout where it may have promised a lease", async () => {
    const votesSoonAfterRestart = async (leaseReads: boolean) => {
      const { group, leader } = await startedGroup({ leaseReads });
      const [one, two] = othersOf(group, leader) as [RaftMember, RaftMember];
      await group.stop(leader.id);
      await group.clock.advance(900);
      await group.stop(two.id);
      await group.restart(two.id);
      let requests = 0;
      let votes = 0;
      group.network.filter = (from, _to, message) => {
        if (message.type !== "raft") return true;
        if (message.message.type === "MsgPreVote" && from === one.id) requests++;
        if (message.message.type === "MsgPreVoteResp" && from === two.id) votes++;
        return true;
      };
      await group.clock.advance(950);
      expect(requests).toBeGreaterThan(0);
      const soon = votes;
      await group.during(
        "a leader",
        one.node.status.until(({ leaderId }) => leaderId !== 0 && leaderId !== leader.id),
      );
      group.members.delete(leader.id);
      await group.close();
      return soon;
    };
    expect(await votesSoonAfterRestart(false)).toBeGreaterThan(0);
    expect(await votesSoonAfterRestart(true)).toBe(0);
  });

  it("counts the lease from the moment in which the quorum was asked, not from its answer", async () => {
    const { group, leader } = await startedGroup({ leaseReads: true });
    const answerAfterMs = 400;
    group.network.filter = (from, to, message) => {
      if (message.type !== "raft" || message.message.type !== "MsgHeartbeatResp") return true;
      if (message.message.context === undefined) return true;
      const late = message;
      group.clock.setTimer(answerAfterMs, () => {
        group.network.filter = () => true;
        group.network.transport(from).send(to, late);
      });
      return false;
    };
    const askedAtMs = group.clock.monotonicMs();
    await group.during("a read", leader.node.read(lease));
    expect(group.clock.monotonicMs() - askedAtMs).toBeGreaterThanOrEqual(answerAfterMs);
    // An election timeout after they were asked, the others may elect somebody else.
    await group.clock.advance(askedAtMs + 1_000 - group.clock.monotonicMs());
    const rounds = countRounds(group);
    await group.during("a read after the lease", leader.node.read(lease));
    expect(rounds()).toBeGreaterThan(0);
    await group.close();
  });

  it("asks the voters of a new configuration before it answers by a lease again", async () => {
    const { group, leader } = await startedGroup({ leaseReads: true });
    const [other] = othersOf(group, leader) as [RaftMember];
    await group.during("a read", leader.node.read(lease));
    const grantedAtMs = group.clock.monotonicMs();
    await group.changeMembers({ op: "remove", id: other.id });
    // By its time alone it would still hold.
    expect(group.clock.monotonicMs() - grantedAtMs).toBeLessThan(500);
    const rounds = countRounds(group);
    await group.during("a read", leader.node.read(lease));
    expect(rounds()).toBeGreaterThan(0);
    await group.close();
  });

  it("covers what the only voter acknowledged before it was restarted, as soon as it leads again", async () => {
    let held: Promise<void> | undefined;
    const wrapLog = (_id: unknown, log: LogStore): LogStore => ({
      load: (options) => log.load(options),
      append: async (write) => {
        if (write.entries.length > 0) await held;
        await log.append(write);
      },
      compact: (base) => log.compact(base),
      reset: (base, hardState) => log.reset(base, hardState),
      close: () => log.close(),
    });
    const group = await RaftGroup.start({ voters: 1, wrapLog });
    for (const value of ["a", "b", "c"]) await group.propose(value);
    const { machine } = group.member(1);
    await group.stop(1);
    // The state was in memory, and a commit index alone is not written: the log says no more than that "c" is there.
    const confState = { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
    await machine.restore({ index: asLogIndex(0), term: asTerm(0), confState }, (async function* () {})());
    let release = () => {};
    held = new Promise((resolve) => {
      release = resolve;
    });
    const { node } = await group.restart(1);
    let seen: readonly string[] | undefined;
    const read = node.read().then(() => {
      seen = [...machine.values];
    });
    await group.until("a leader", () => node.status.value.role === "StateLeader");
    await group.clock.advance(500);
    expect(seen).toBeUndefined();
    release();
    await group.during("a read", read);
    expect(seen).toEqual(["a", "b", "c"]);
    await group.close();
  });
});
