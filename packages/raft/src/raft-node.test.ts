import { fromUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { RaftGroup } from "./testing/index.ts";

describe("RaftNode", () => {
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

  it("rejects proposals with NOT_LEADER on a follower and names the leader", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    const leader = await group.waitForLeader();
    await group.propose("x");
    const follower = [...group.members.values()].find(({ id }) => id !== leader.id);
    await expect(follower?.node.propose(fromUtf8("a"))).rejects.toMatchObject({
      code: "NOT_LEADER",
      outcome: "not_applied",
      details: { leaderId: leader.id },
    });
    await group.close();
  });
});
