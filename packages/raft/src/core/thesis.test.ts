/**
 * What the thesis adds to the paper, section by section: transfer, membership, disruptive servers.
 */
import { describe, expect, it } from "@jest/globals";
import { CoreGroup } from "./testing/core-group.ts";
import { bytes, isolate, texts } from "./testing/observe.ts";
import { asNodeId, type ConfChange } from "./types.ts";

describe("thesis 3.10: leadership transfer", () => {
  it("catches the transferee up, then lets it campaign at once", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { preVote: true, checkQuorum: true } });
    group.elect(1);
    group.core(1).propose(bytes("a"));
    group.settle(isolate(2));
    group.core(1).transferLeader(asNodeId(2));
    group.tick(1);
    group.settle();
    expect(group.leader()).toMatchObject({ id: 2 });
    expect(texts(group.node(2).applied)).toEqual(["a"]);
  });

  it("drops proposals meanwhile, and gives up after an election timeout", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    group.core(1).transferLeader(asNodeId(2));
    group.settle(isolate(2));
    expect(() => group.core(1).propose(bytes("a"))).toThrow(expect.objectContaining({ code: "PROPOSAL_DROPPED" }));
    group.tick(1, 10);
    expect(group.core(1).status().leadTransferee).toBe(0);
    group.core(1).propose(bytes("a"));
    group.settle();
    expect(texts(group.node(2).applied)).toEqual(["a"]);
  });

  it("never goes to a learner or to a stranger", () => {
    const group = new CoreGroup({ voters: [1, 2], learners: [3] });
    group.elect(1);
    group.core(1).transferLeader(asNodeId(3));
    group.core(1).transferLeader(asNodeId(9));
    expect(group.core(1).status().leadTransferee).toBe(0);
  });

  it("ends when its target becomes a learner meanwhile", () => {
    const aborted: unknown[] = [];
    const group = new CoreGroup({
      voters: [1, 2, 3],
      config: { onEvent: (event) => event.type === "transferAborted" && aborted.push(event.to) },
    });
    group.elect(1);
    const changes = [{ op: "addLearner", id: asNodeId(3) }] as const;
    group.core(1).proposeConfChange({ version: 1, transition: "auto", changes });
    // The target has not got the change yet, so it has to catch up before it may campaign.
    group.core(1).transferLeader(asNodeId(3));
    expect(group.core(1).status().leadTransferee).toBe(3);
    group.settle(isolate(3));
    expect(group.core(1).status()).toMatchObject({ voters: [[1, 2], []], leadTransferee: 0 });
    expect(aborted).toEqual([3]);
    const offered: unknown[] = [];
    group.core(1).propose(bytes("a"));
    group.tick(1);
    group.settle(({ type }) => {
      if (type === "MsgTimeoutNow") offered.push(type);
      return true;
    });
    expect(offered).toEqual([]);
    expect(texts(group.node(3).applied)).toEqual(["a"]);
  });

  it("is forwarded by a follower", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    group.core(2).transferLeader(asNodeId(3));
    group.settle();
    expect(group.leader().id).toBe(3);
  });
});

describe("thesis 4.1 to 4.3: membership", () => {
  const change = (fields: Partial<ConfChange>): ConfChange => ({
    version: 2,
    transition: "auto",
    changes: [],
    ...fields,
  });
  const add = (id: number) => ({ op: "addVoter", id: asNodeId(id) }) as const;
  const remove = (id: number) => ({ op: "remove", id: asNodeId(id) }) as const;

  it("adds a learner, catches it up, and promotes it", () => {
    const group = new CoreGroup({ voters: [1], outsiders: [2] });
    group.elect(1);
    group.core(1).propose(bytes("a"));
    group.core(1).proposeConfChange(change({ changes: [{ op: "addLearner", id: asNodeId(2) }] }));
    group.settle();
    expect(texts(group.node(2).applied)).toEqual([]);
    expect(group.core(1).status().progress[1]).toMatchObject({ learner: true, match: group.core(1).status().commit });
    group.core(1).proposeConfChange(change({ changes: [add(2)] }));
    group.settle();
    expect(group.core(2).status().voters).toEqual([[1, 2], []]);
  });

  it("refuses a second change while one is pending, and tells why", () => {
    const refusals: unknown[] = [];
    const group = new CoreGroup({
      voters: [1, 2, 3],
      config: { onEvent: (event) => event.type === "confChangeRefused" && refusals.push(event) },
    });
    group.elect(1);
    group.core(1).proposeConfChange(change({ changes: [remove(3)] }));
    group.core(1).proposeConfChange(change({ changes: [remove(2)] }));
    group.settle();
    expect(refusals).toEqual([{ type: "confChangeRefused", index: 4, reason: "change_pending" }]);
    expect(group.core(1).status().voters).toEqual([[1, 2], []]);
    group.core(1).proposeConfChange(change({}));
    expect(refusals).toHaveLength(2);
  });

  it("leaves a joint configuration by itself, also when a transfer was under way", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], outsiders: [4] });
    group.elect(1);
    group.core(1).proposeConfChange(change({ changes: [add(4), remove(2)] }));
    group.settle(isolate(4));
    group.tick(1);
    group.settle();
    for (const id of [1, 3, 4]) expect(group.core(id).status().voters).toEqual([[1, 3, 4], []]);
  });

  it("needs both halves while the configuration is joint", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    group.core(1).proposeConfChange(change({ transition: "explicit", changes: [remove(2), remove(3)] }));
    group.settle();
    expect(group.core(1).status().voters).toEqual([[1], [1, 2, 3]]);
    group.core(1).propose(bytes("a"));
    group.settle(isolate(2, 3));
    expect(texts(group.node(1).applied)).toEqual([]);
    group.tick(1);
    group.settle();
    expect(texts(group.node(1).applied)).toEqual(["a"]);
  });

  it.each([true, false])("a removed leader steps down when it is told to: %s", (stepDownOnRemoval) => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { stepDownOnRemoval } });
    group.elect(1);
    group.core(1).proposeConfChange(change({ changes: [remove(1)] }));
    group.settle();
    expect(group.core(1).status().role).toBe(stepDownOnRemoval ? "StateFollower" : "StateLeader");
    expect(() => group.core(1).propose(bytes("a"))).toThrow(expect.objectContaining({ code: "PROPOSAL_DROPPED" }));
    group.elect(2);
  });

  it("does not campaign before the configuration changes that it knows are applied", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { asyncStorageWrites: true } });
    group.elect(1);
    group.core(1).proposeConfChange(change({ changes: [remove(3)] }));
    // The change is committed, but the apply threads sleep.
    for (let round = 0; round < 10; round++) {
      for (const id of [1, 2, 3]) {
        group.process(id);
        group.work(id, "append");
      }
      group.deliverAll();
    }
    group.core(2).campaign();
    expect(group.core(2).status().role).toBe("StateFollower");
    group.settle();
    group.elect(2);
  });

  it("reports an impossible change, with nothing changed", () => {
    const group = new CoreGroup({ voters: [1] });
    group.elect(1);
    const before = group.core(1).status();
    expect(() => group.core(1).applyConfChange(change({ changes: [remove(1)] }))).toThrow(
      expect.objectContaining({ code: "CONF_CHANGE_INVALID" }),
    );
    expect(group.core(1).status()).toEqual(before);
  });
});

describe("thesis 4.2.3, 6.2 and 9.6: disruptive servers", () => {
  it("a leader that hears no quorum for an election timeout steps down", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { checkQuorum: true } });
    group.elect(1);
    group.tick(1, 20);
    expect(group.core(1).status()).toMatchObject({ role: "StateFollower", lead: 0 });
  });

  it("a follower under the lease ignores candidates with a higher term", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { checkQuorum: true } });
    group.elect(1);
    group.core(3).campaign();
    group.settle(({ from: sender, to }) => !(sender === 3 && to === 1));
    expect(group.core(2).status()).toMatchObject({ term: 2, lead: 1 });
  });

  it("a node that comes back from a partition does not disturb, with pre-vote", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { preVote: true, checkQuorum: true } });
    group.elect(1);
    group.tick(3, 100);
    group.settle(isolate(3));
    group.tick(3, 100);
    expect(group.core(3).status()).toMatchObject({ role: "StatePreCandidate", term: 2 });
    group.settle();
    expect(group.leader().id).toBe(1);
    group.tick(1);
    group.settle();
    expect(group.core(3).status()).toMatchObject({ role: "StateFollower", lead: 1, term: 2 });
  });

  it("a forgotten leader frees the vote at once", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { preVote: true, checkQuorum: true } });
    group.elect(1);
    group.core(2).forgetLeader();
    group.core(3).forgetLeader();
    group.core(2).campaign();
    group.settle(isolate(1));
    expect(group.core(2).status()).toMatchObject({ role: "StateLeader", term: 3 });
  });
});
