/**
 * The Raft paper, section by section: what it promises, asked of the core. The sections of the thesis are in
 * `thesis.test.ts`.
 */
import { describe, expect, it } from "@jest/globals";
import { newMessage } from "./messages.ts";
import { CoreGroup } from "./testing/core-group.ts";
import { bytes, from, isolate, logOf, sent, texts } from "./testing/observe.ts";
import { asLogIndex, asNodeId, asTerm, type Message } from "./types.ts";

describe("paper 5.1: terms", () => {
  it.each([1, 2])("any node %i follows a higher term", (elected) => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(elected);
    group.core(1).step(newMessage("MsgHeartbeat", asNodeId(3), asNodeId(1), asTerm(7)));
    expect(group.core(1).status()).toMatchObject({ term: 7, role: "StateFollower", lead: 3 });
  });

  it("ignores messages of an older term", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    const before = group.core(2).status();
    group.core(2).step(newMessage("MsgApp", asNodeId(3), asNodeId(2), asTerm(1), { commit: asLogIndex(1) }));
    expect(group.core(2).status()).toEqual(before);
    expect(group.core(2).hasReady()).toBe(false);
  });
});

describe("paper 5.2: leader election", () => {
  it("starts as a follower, and campaigns after its randomized timeout", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { random: () => 0.5 } });
    group.tick(1, 14);
    expect(group.core(1).status()).toMatchObject({ role: "StateFollower", term: 1 });
    group.tick(1);
    expect(group.core(1).status()).toMatchObject({ role: "StateCandidate", term: 2, vote: 1 });
    group.process(1);
    expect(sent(group.network, "MsgVote").map(({ to }) => to)).toEqual([2, 3]);
  });

  it("votes once in a term, first come first served, also after a restart", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.core(1).campaign();
    group.core(3).campaign();
    group.process(1);
    group.process(3);
    const [first] = from(group, 1);
    const second = from(group, 3).find(({ to }) => to === 2);
    group.deliver(first as Message);
    group.process(2);
    group.restart(2);
    group.deliver(second as Message);
    group.process(2);
    expect(sent(from(group, 2), "MsgVoteResp").map(({ to, reject }) => [to, reject])).toEqual([
      [1, false],
      [3, true],
    ]);
  });

  it("sends a vote only together with the write that makes it durable", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { asyncStorageWrites: true } });
    group.core(1).campaign();
    group.process(1);
    // The own vote does not count yet either: it waits behind the append.
    group.deliverAll();
    const ready = group.process(2);
    expect(sent(ready?.messages ?? [], "MsgVoteResp")).toEqual([]);
    const append = ready?.messages.find(({ type }) => type === "MsgStorageAppend");
    expect(append).toMatchObject({ term: 2, vote: 1, responses: [{ type: "MsgVoteResp", to: 1 }] });
  });

  it("tells everyone at once that an election was won", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    for (const id of [1, 2, 3]) expect(group.core(id).status()).toMatchObject({ lead: 1, term: 2 });
  });

  it("steps down when a candidate hears the leader of its term", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.core(1).campaign();
    group.core(2).campaign();
    group.settle();
    expect(group.nodes.filter(({ core }) => core.status().role === "StateLeader")).toHaveLength(1);
  });

  it("starts a new election when nobody wins", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.core(1).campaign();
    group.settle(isolate(1));
    group.tick(1, 10);
    expect(group.core(1).status()).toMatchObject({ role: "StateCandidate", term: 3 });
  });
});

describe("paper 5.3: log replication", () => {
  it("commits and applies an entry once a majority has it, everywhere in the same order", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    for (const text of ["a", "b", "c"]) group.core(1).propose(bytes(text));
    group.settle(isolate(3));
    expect(texts(group.node(1).applied)).toEqual(["a", "b", "c"]);
    expect(texts(group.node(3).applied)).toEqual([]);
    group.tick(1);
    group.settle();
    expect(texts(group.node(3).applied)).toEqual(["a", "b", "c"]);
  });

  it("repairs a divergent log by skipping a whole term at a time", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    for (let n = 0; n < 10; n++) group.core(1).propose(bytes("lost"));
    group.settle(isolate(1));
    group.core(2).campaign();
    group.settle(isolate(1));
    group.core(2).propose(bytes("kept"));
    group.settle(isolate(1));
    group.core(3).campaign();
    group.settle(isolate(1));
    expect(logOf(group, 1)).not.toEqual(logOf(group, 3));

    group.tick(3);
    let rejections = 0;
    group.settle(({ type, reject }) => {
      if (type === "MsgAppResp" && reject) rejections++;
      return true;
    });
    expect(logOf(group, 1)).toEqual(logOf(group, 2));
    expect(rejections).toBe(1);
    expect(texts(group.node(1).applied)).toEqual(["kept"]);
  });

  it("is unharmed by duplicated and reordered messages", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    for (const text of ["a", "b", "c"]) {
      group.core(1).propose(bytes(text));
      group.process(1);
    }
    group.network = [...group.network].reverse().concat(group.network);
    group.settle();
    for (const id of [1, 2, 3]) expect(texts(group.node(id).applied)).toEqual(["a", "b", "c"]);
  });
});

describe("paper 5.4.1: election restriction", () => {
  it("denies its vote to a candidate that lacks entries", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    group.core(1).propose(bytes("a"));
    group.settle(isolate(3));
    group.core(3).campaign();
    group.settle();
    expect(group.core(3).status().role).not.toBe("StateLeader");
    group.core(2).campaign();
    group.settle();
    expect(group.core(2).status().role).toBe("StateLeader");
  });
});

describe("paper 5.4.2: entries of earlier terms", () => {
  it("commit only together with an entry of the leader's own term", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { maxSizePerMsg: 0 } });
    group.elect(1);
    group.core(1).propose(bytes("old"));
    group.process(1);
    // Node 2 gets the entry, but its answer is lost, and so is the leader.
    group.deliverAll(({ to }) => to === 2);
    group.settle(isolate(1, 3));
    const { commit } = group.core(2).status();

    // The next leader brings the old entry to a majority, but its own entry to nobody: the first try is rejected
    // for the lack of the old entry, and the second one is lost.
    let tries = 0;
    const isOwn = ({ entries }: Message) => entries.some(({ term }) => term === 3);
    group.core(2).campaign();
    group.settle((message) => isolate(1)(message) && !(isOwn(message) && tries++ > 0));
    expect(group.core(2).status()).toMatchObject({ role: "StateLeader", commit });
    expect(logOf(group, 3)).toEqual(["2/2", "2/3"]);
    expect(group.core(2).status().progress[2]).toMatchObject({ match: 3 });

    group.tick(2);
    group.settle(isolate(1));
    expect(group.core(2).status().commit).toBe(commit + 2);
    expect(texts(group.node(3).applied)).toEqual(["old"]);
  });
});

describe("paper 5.4.3: leader completeness", () => {
  it.each([1, 2, 3])("whoever is elected after a commit without node %i has the entry", (absent) => {
    for (const candidate of [1, 2, 3]) {
      const group = new CoreGroup({ voters: [1, 2, 3] });
      group.elect(absent === 1 ? 2 : 1);
      group.leader().core.propose(bytes("kept"));
      group.settle(isolate(absent));
      group.core(candidate).campaign();
      group.settle();
      group.core(candidate === absent ? (candidate % 3) + 1 : candidate).campaign();
      group.settle();
      expect(group.leader().id).not.toBe(absent);
      group.tick(group.leader().id);
      group.settle();
      for (const node of group.nodes) expect(texts(node.applied)).toEqual(["kept"]);
    }
  });
});

describe("paper 5.5: crashes", () => {
  it("goes on after a crash from what was written", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    group.core(1).propose(bytes("a"));
    group.settle();
    for (const id of [1, 2, 3]) group.restart(id);
    group.elect(3);
    group.core(3).propose(bytes("b"));
    group.settle();
    for (const id of [1, 2, 3]) expect(texts(group.node(id).applied)).toEqual(["a", "b"]);
  });

  it("keeps entries in memory until no write under way can replace them", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { asyncStorageWrites: true } });
    const append = (sender: number, term: number, entryTerm?: number) => {
      const entry = { term: asTerm(entryTerm ?? 0), index: asLogIndex(2), kind: "normal", data: bytes("") } as const;
      const place = {
        index: asLogIndex(entryTerm === undefined ? 2 : 1),
        logTerm: asTerm(entryTerm === undefined ? 2 : 1),
      };
      const fields = { ...place, entries: entryTerm === undefined ? [] : [entry] };
      group.deliver(newMessage("MsgApp", asNodeId(sender), asNodeId(2), asTerm(term), fields));
      group.process(2);
    };
    // The same entry is written, replaced and written again, before the first write is done.
    append(1, 2, 2);
    append(3, 3, 3);
    append(1, 4, 2);
    group.work(2, "append");
    group.work(2, "append");
    expect(logOf(group, 2)).toEqual(["3/2"]);
    append(1, 4);
    while (group.work(2, "append"));
    expect(sent(from(group, 2), "MsgAppResp").at(-1)).toMatchObject({ term: 4, index: 2, reject: false });
    expect(logOf(group, 2)).toEqual(["2/2"]);
  });

  it("takes what the state machine applied for committed, though the commit index was not written", () => {
    const group = new CoreGroup({ voters: [1] });
    group.elect(1);
    const { storage } = group.node(1);
    storage.hardState = { ...storage.hardState, commit: asLogIndex(0) };
    group.restart(1);
    expect(group.core(1).status()).toMatchObject({ commit: 2, applied: 2 });
  });
});

describe("paper 5.6: timing", () => {
  const electionTick = 10;
  const tickAll = (group: CoreGroup, ticks: number, passes?: (message: Message) => boolean) => {
    for (let tick = 0; tick < ticks; tick++) {
      for (const { id } of group.nodes) group.tick(id);
      group.settle(passes);
    }
  };

  it("one leader stays while its messages take less than the election timeout", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { electionTick, heartbeatTick: electionTick - 1 } });
    group.elect(2);
    const { term } = group.core(2).status();
    tickAll(group, 10 * electionTick);
    for (const { core } of group.nodes) expect(core.status()).toMatchObject({ term, lead: 2 });
  });

  it("another one is elected once nothing was heard of it for that long, and not before", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { electionTick } });
    group.elect(2);
    const { term } = group.core(2).status();
    tickAll(group, electionTick - 1, isolate(2));
    expect(group.core(1).status()).toMatchObject({ term, lead: 2 });
    group.tick(1);
    group.settle(isolate(2));
    expect(group.leader().id).toBe(1);
    expect(group.leader().core.status().term).toBeGreaterThan(term);
  });
});

describe("paper 6: membership changes", () => {
  const replacing = (...ops: ["addVoter" | "remove", number][]) =>
    ({
      version: 2,
      transition: "implicit",
      changes: ops.map(([op, id]) => ({ op, id: asNodeId(id) })),
    }) as const;

  it("a leader that leaves manages the change, and does not count itself in the new majority", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], config: { stepDownOnRemoval: true } });
    group.elect(1);
    group.core(1).proposeConfChange(replacing(["remove", 1]));
    group.settle(isolate(3));
    // Nodes 1 and 2 are a majority of the old voters, but not of the new ones.
    expect(group.core(1).status()).toMatchObject({
      role: "StateLeader",
      voters: [
        [2, 3],
        [1, 2, 3],
      ],
    });
    group.tick(1);
    group.settle();
    expect(group.core(1).status()).toMatchObject({ role: "StateFollower", voters: [[2, 3], []] });
    group.elect(3);
  });

  it("no two leaders are elected by two disjoint majorities of old and new", () => {
    const group = new CoreGroup({ voters: [1, 2, 3], outsiders: [4, 5] });
    group.elect(1);
    group.core(1).proposeConfChange(replacing(["addVoter", 4], ["addVoter", 5]));
    // The two new nodes and node 3 know of the change, nodes 1 and 2 have applied it too; then the group is cut.
    group.settle(({ entries }) => entries.every(({ index }) => index < 4));
    expect(group.core(3).status().voters).toEqual([
      [1, 2, 3, 4, 5],
      [1, 2, 3],
    ]);
    const cut = isolate(1, 2);
    group.core(3).campaign();
    group.settle(cut);
    // Three of the five new voters, but one of the three old ones.
    expect(group.core(3).status().role).not.toBe("StateLeader");
  });
});

describe("paper 7: snapshots", () => {
  function lagging(config = {}) {
    const group = new CoreGroup({ voters: [1, 2, 3], config });
    group.elect(1);
    for (let n = 0; n < 5; n++) group.core(1).propose(bytes("x"));
    group.settle(isolate(3));
    group.node(1).storage.compact(group.core(1).status().applied);
    return group;
  }
  const progressOf = (group: CoreGroup, id: number) =>
    group
      .core(1)
      .status()
      .progress.find((peer) => peer.id === id);

  it("bring a follower up to date whose entries were compacted away", () => {
    const group = lagging();
    group.tick(1);
    let snapshots = 0;
    group.settle(({ type }) => {
      if (type === "MsgSnap") snapshots++;
      return true;
    });
    expect(snapshots).toBe(1);
    expect(progressOf(group, 3)).toMatchObject({ state: "StateReplicate", match: 7 });
    group.core(1).propose(bytes("y"));
    group.settle();
    expect(texts(group.node(3).applied)).toEqual(["y"]);
  });

  it("are tried again after a failed one, with the next heartbeat response", () => {
    const group = lagging();
    group.tick(1);
    group.settle(({ type }) => type !== "MsgSnap");
    expect(progressOf(group, 3)).toMatchObject({ state: "StateSnapshot", pendingSnapshot: 7 });
    group.core(1).reportSnapshot(asNodeId(3), false);
    expect(progressOf(group, 3)).toMatchObject({ state: "StateProbe", next: 3, paused: true });
    group.tick(1);
    group.settle();
    expect(progressOf(group, 3)).toMatchObject({ state: "StateReplicate", match: 7 });
  });

  it("are probed behind once they were delivered", () => {
    const group = lagging();
    group.tick(1);
    group.settle(({ type }) => type !== "MsgSnap");
    group.core(1).reportSnapshot(asNodeId(3), true);
    expect(progressOf(group, 3)).toMatchObject({ state: "StateProbe", next: 8, paused: true });
  });

  it("never take a follower back", () => {
    const group = lagging();
    group.tick(1);
    let late: Message | undefined;
    group.settle((message) => {
      if (message.type === "MsgSnap") late = message;
      return true;
    });
    group.core(1).propose(bytes("y"));
    group.settle();
    const before = group.core(3).status();
    group.deliver(late as Message);
    group.settle();
    expect(group.core(3).status()).toEqual(before);
  });
});

describe("paper 8: clients", () => {
  it("a leader commits an empty entry of its term first, and so knows what is committed", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    const [first] = group.node(1).applied;
    expect(first).toMatchObject({ kind: "normal", term: group.core(1).status().term, data: bytes("") });
  });

  it("answers a read only after a majority has confirmed that it still leads", () => {
    const group = new CoreGroup({ voters: [1, 2, 3] });
    group.elect(1);
    group.core(1).readIndex(bytes("r"));
    group.settle(isolate(1));
    group.core(2).campaign();
    group.settle(isolate(1));
    group.core(2).propose(bytes("newer"));
    group.settle(isolate(1));
    group.tick(1);
    group.settle();
    expect(group.node(1).reads).toEqual([]);
    group.core(2).readIndex(bytes("r"));
    group.settle();
    expect(group.node(2).reads).toMatchObject([{ index: group.core(2).status().commit }]);
  });
});
