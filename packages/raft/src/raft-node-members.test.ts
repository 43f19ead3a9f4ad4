import { fromUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { asNodeId } from "./core/types.ts";
import type { MemberProgress } from "./membership/member-progress.ts";
import { RaftGroup, type RaftMember } from "./testing/index.ts";

const id = asNodeId;
const stagesOf = (progress: readonly MemberProgress[]) =>
  progress.map(({ stage }) => stage).filter((stage, at, all) => stage !== all[at - 1]);

describe("RaftNode.add", () => {
  it("takes a node from nothing to voter in one call, and tells how far it is", async () => {
    const group = await RaftGroup.start({ voters: 1, options: { appendMessageBytesMax: 64 } });
    for (let at = 0; at < 50; at++) await group.propose(`value ${at}`);
    const joiner = await group.addNode(2);
    const progress: MemberProgress[] = [];
    const { node } = group.member(1);
    const added = await group.during("adding", node.add(id(2), { onProgress: (one) => progress.push(one) }));
    expect(added).toMatchObject({ voters: [1, 2], learners: [] });
    expect(stagesOf(progress)).toEqual(["adding", "catching_up", "promoting", "done"]);
    await group.waitForEqualState();
    expect(joiner.machine.values).toHaveLength(50);
    expect(await node.add(id(2))).toEqual(added);
    await group.close();
  });

  it("goes over a snapshot where the first entries are gone, and another round where the log grew meanwhile", async () => {
    const options = { snapshotEntries: 10, trailingEntries: 0, snapshotChunkBytes: 64 };
    const group = await RaftGroup.start({ voters: 1, options });
    for (let at = 0; at < 100; at++) await group.propose(`value ${at}`);
    await group.addNode(2);
    const progress: MemberProgress[] = [];
    const { node } = group.member(1);
    let writes = 0;
    group.network.filter = (_from, _to, message) => {
      // A slow network: each chunk waits, and the log grows.
      if (message.type === "snapshotChunk" && writes++ < 3) {
        node.propose(fromUtf8(`meanwhile ${writes}`)).catch(() => {});
        return false;
      }
      return true;
    };
    await group.during("adding", node.add(id(2), { onProgress: (one) => progress.push(one) }));
    expect(progress).toContainEqual(expect.objectContaining({ stage: "catching_up", by: "snapshot", active: true }));
    expect(progress).toContainEqual(expect.objectContaining({ stage: "catching_up", round: 1 }));
    await group.waitForEqualState();
    expect(group.member(2).machine.values).toHaveLength(103);
    await group.close();
  });

  it("says what kept a node from catching up, and leaves it a learner; a second call goes on from there", async () => {
    const group = await RaftGroup.start({ voters: 1 });
    await group.propose("a");
    const { node } = group.member(1);
    const added = node.add(id(2), { catchUpTimeoutMs: 2_000 });
    await expect(group.during("adding", added)).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: expect.stringContaining("nothing is heard of it"),
      details: { active: false, matchIndex: 0 },
    });
    expect(node.status.value.confState).toMatchObject({ voters: [1], learners: [2] });
    await group.addNode(2);
    expect(await group.during("adding again", node.add(id(2)))).toMatchObject({ voters: [1, 2] });
    await group.close();
  });

  it("leaves a configuration on every disk that says that it is committed, before anything else is written", async () => {
    const group = await RaftGroup.start({ voters: 1 });
    await group.propose("a");
    await group.addNode(2);
    const { node } = group.member(1);
    await group.during("adding", node.add(id(2)));
    await group.waitForEqualState();
    await group.clock.advance(1_000);
    const { confIndex } = node.status.value;
    // A node that has lost its state, and hears no leader, knows from here alone who votes.
    for (const member of [group.member(1), group.member(2)]) {
      expect((await member.log.load()).hardState.commit).toBeGreaterThanOrEqual(confIndex);
    }
    await group.close();
  });

  it("stops at a learner where that is asked for", async () => {
    const group = await RaftGroup.start({ voters: 1 });
    await group.propose("a");
    const { node } = group.member(1);
    expect(await group.during("adding", node.add(id(2), { as: "learner" }))).toMatchObject({ learners: [2] });
    await expect(node.add(id(1), { as: "learner" })).rejects.toMatchObject({ code: "CONFLICT" });
    await group.close();
  });

  it("ends with its signal, with the node, and on a follower with NOT_LEADER", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    const leader = await group.waitForLeader();
    const other = [...group.members.values()].find((member) => member.id !== leader.id) as RaftMember;
    await group.during(
      "a leader is known",
      other.node.status.until(({ leaderId }) => leaderId === leader.id),
    );
    await expect(other.node.add(id(9))).rejects.toMatchObject({
      code: "NOT_LEADER",
      details: { leaderId: leader.id },
    });
    const caller = new AbortController();
    const cancelled = leader.node.add(id(9), { signal: caller.signal });
    cancelled.catch(() => {});
    await group.clock.advance(500);
    caller.abort();
    await expect(cancelled).rejects.toMatchObject({ code: "CANCELLED" });
    const stopped = leader.node.add(id(9));
    stopped.catch(() => {});
    await group.clock.advance(100);
    await leader.node.close();
    await expect(stopped).rejects.toMatchObject({ code: "STOPPED" });
    await group.close();
  });
});

describe("RaftNode.remove", () => {
  it("removes a member on any node, and nobody twice", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    await group.waitForEqualState();
    const leader = await group.waitForLeader();
    const [one, two] = [...group.members.values()].filter((member) => member.id !== leader.id) as [
      RaftMember,
      RaftMember,
    ];
    const left = await group.during("removing", one.node.remove(two.id));
    expect(left.voters).toEqual([leader.id, one.id].sort((a, b) => a - b));
    expect(await one.node.remove(two.id)).toEqual(left);
    await group.close();
  });

  it("refuses what would lose the quorum, unless it is forced", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    const leader = await group.waitForLeader();
    const [up, down] = [...group.members.values()].filter((member) => member.id !== leader.id) as [
      RaftMember,
      RaftMember,
    ];
    await group.stop(down.id);
    await group.clock.advance(2_000);
    const { node } = await group.waitForLeader();
    const risky = { code: "QUORUM_AT_RISK", outcome: "not_applied", hint: expect.stringContaining("force") };
    await expect(group.during("a removal", node.remove(up.id))).rejects.toMatchObject(risky);
    // The same where a follower asks.
    await expect(group.during("a removal", up.node.remove(up.id))).rejects.toMatchObject(risky);
    await expect(
      group.during(
        "a new voter that is down",
        node.proposeConfChange({ version: 2, transition: "auto", changes: [{ op: "addVoter", id: id(9) }] }),
      ),
    ).rejects.toMatchObject(risky);
    expect(await group.during("the removal of the node that is down", node.remove(down.id))).toMatchObject({
      voters: [leader.id, up.id].sort((a, b) => a - b),
    });
    await group.stop(up.id);
    const forced = node.remove(up.id, { force: true });
    forced.catch(() => {});
    await group.clock.advance(100);
    expect(node.coreStatus().commit).toBeLessThan(node.status.value.lastLogIndex);
    group.members.delete(up.id);
    group.members.delete(down.id);
    await group.close();
  });
});
