import { fromUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { asLogIndex, asNodeId, asTerm, type Entry } from "../../core/types.ts";
import type { PeerMessage } from "../../ports.ts";
import { RaftGroup, type RaftMember } from "../../testing/index.ts";
import { type AppliedBatch, type ProposalPayload, ProposalTable } from "../proposal-table.ts";
import { ProposalDeduplicator } from "./proposal-deduplicator.ts";
import { forwardWindow } from "./proposal-forwarder.ts";

const id = asNodeId;

async function startedGroup(options = {}): Promise<{ group: RaftGroup; leader: RaftMember; follower: RaftMember }> {
  const group = await RaftGroup.start({ voters: 3, options });
  await group.propose("start");
  const leader = await group.waitForLeader();
  await group.waitForEqualState();
  const follower = [...group.members.values()].find((member) => member.id !== leader.id);
  if (follower === undefined) throw new Error("the group has one node");
  return { group, leader, follower };
}

describe("RaftNode.propose on a follower", () => {
  it("is forwarded, and resolves when the follower itself applied it", async () => {
    const { group, follower } = await startedGroup();
    const results = await group.during(
      "the proposals",
      Promise.all(["a", "b", "c"].map((value) => follower.node.propose(fromUtf8(value)))),
    );
    expect(results.map(({ result }) => result)).toEqual([2, 3, 4]);
    expect(follower.machine.values).toEqual(["start", "a", "b", "c"]);
    await group.close();
  });

  it("is applied once although requests and answers are lost and repeated", async () => {
    const { group, follower } = await startedGroup();
    let copies = 0;
    group.network.setDuplication(0.5);
    group.network.filter = (_from, _to, message) => {
      if (message.type !== "proposal" && message.type !== "proposalAnswer") return true;
      copies++;
      return copies % 3 !== 1;
    };
    const values = Array.from({ length: 30 }, (_, at) => `v${at}`);
    for (const value of values) await group.during(value, follower.node.propose(fromUtf8(value)));
    await group.waitForEqualState();
    expect(follower.machine.values).toEqual(["start", ...values]);
    expect(copies).toBeGreaterThan(60);
    await group.close();
  });

  it("gets its result although the entry comes before the leader's answer", async () => {
    const { group, follower } = await startedGroup();
    let answers = 0;
    group.network.filter = (_from, _to, message) => message.type !== "proposalAnswer" || ++answers > 1;
    const proposed = follower.node.propose(fromUtf8("a"));
    await group.until("the entry", () => follower.machine.values.length === 2);
    // The first answer was lost; the second one comes after the entry was applied.
    expect((await group.during("the result", proposed)).result).toBe(2);
    expect(answers).toBe(2);
    await group.close();
  });

  it("says OUTCOME_UNKNOWN when the leader is gone before it answered", async () => {
    const { group, leader, follower } = await startedGroup();
    group.network.filter = (_from, _to, message) => message.type !== "proposalAnswer";
    const proposed = follower.node.propose(fromUtf8("a"));
    proposed.catch(() => {});
    await group.until("the entry", () => leader.machine.values.includes("a"));
    await group.stop(leader.id);
    await expect(group.during("the outcome", proposed)).rejects.toMatchObject({
      code: "OUTCOME_UNKNOWN",
      outcome: "unknown",
    });
    await group.close();
  });

  it("says NOT_LEADER and not_applied when the request never left", async () => {
    const { group, leader, follower } = await startedGroup();
    group.network.unbind(leader.id);
    const proposed = follower.node.propose(fromUtf8("a"));
    await expect(group.during("the outcome", proposed)).rejects.toMatchObject({
      code: "NOT_LEADER",
      outcome: "not_applied",
    });
    await group.close();
  });

  it("forwards configuration changes, and tells why the leader refuses them", async () => {
    const { group, follower } = await startedGroup();
    const change = (...changes: { op: "addLearner" | "addVoter"; id: ReturnType<typeof id> }[]) =>
      follower.node.proposeConfChange({ version: 1, transition: "auto", changes });
    expect(await group.during("a learner", change({ op: "addLearner", id: id(9) }))).toMatchObject({ learners: [9] });
    const both = Promise.allSettled([change({ op: "addLearner", id: id(7) }), change({ op: "addLearner", id: id(8) })]);
    expect(await group.during("two changes", both)).toMatchObject([
      { status: "fulfilled" },
      { reason: { code: "CONFLICT", outcome: "not_applied" } },
    ]);
    await group.close();
  });

  it("is refused when a message comes in a term that the leader knew before it was restarted", async () => {
    const { group, leader, follower } = await startedGroup();
    let sent: PeerMessage | undefined;
    group.network.filter = (_from, _to, message) => {
      if (message.type === "proposal") sent ??= message;
      return true;
    };
    await group.during("a", follower.node.propose(fromUtf8("a")));
    await group.stop(leader.id);
    await group.restart(leader.id);
    await group.propose("b");
    if (sent === undefined) throw new Error("nothing was forwarded");
    // A very late copy, to every node: whoever leads now must not append it.
    for (const to of [1, 2, 3].map(id)) group.network.transport(follower.id).send(to, sent);
    await group.propose("c");
    await group.waitForEqualState();
    expect(group.member(1).machine.values).toEqual(["start", "a", "b", "c"]);
    await group.close();
  });

  it("is not called refused by a leader that may have taken it before it was restarted", async () => {
    const { group, leader, follower } = await startedGroup();
    group.network.filter = (_from, _to, message) => message.type !== "proposalAnswer";
    const proposed = follower.node.propose(fromUtf8("a"));
    proposed.catch(() => {});
    await group.until("the entry", () => follower.machine.values.includes("a"));
    await group.stop(leader.id);
    await group.restart(leader.id);
    let copies = 0;
    group.network.filter = (_from, to, message) => {
      if (message.type === "proposal" && to === leader.id) copies++;
      return true;
    };
    // Before anybody misses the leader, the copy comes to one that does not know any more what it took.
    await group.until("a copy", () => copies > 0);
    expect(follower.node.status.value.leaderId).toBe(leader.id);
    await expect(group.during("the outcome", proposed)).rejects.toMatchObject({ outcome: "unknown" });
    expect(follower.machine.values).toEqual(["start", "a"]);
    await group.close();
  });
});

describe("the leader", () => {
  it("takes no proposals of nodes that are no members", async () => {
    const { group, leader } = await startedGroup();
    const answers: PeerMessage[] = [];
    const stranger = group.network.transport(id(9));
    stranger.bind({ onMessage: (_from, message) => answers.push(message), onUnreachable: () => {} });
    const { term } = leader.node.status.value;
    const entry: Entry = { term: asTerm(0), index: asLogIndex(0), kind: "normal", data: fromUtf8("x") };
    stranger.send(leader.id, { type: "proposal", term, session: 1, sequence: 1, force: false, entry });
    await group.until("an answer", () => answers.length > 0);
    expect(answers).toMatchObject([{ verdict: { type: "refused", code: "PROPOSAL_DROPPED" } }]);
    await group.propose("a");
    expect(leader.machine.values).toEqual(["start", "a"]);
    await group.close();
  });
});

describe("ProposalDeduplicator", () => {
  const entry: Entry = { term: asTerm(0), index: asLogIndex(0), kind: "normal", data: fromUtf8("x") };
  const proposal = (session: number, sequence: number) =>
    ({ type: "proposal", term: asTerm(2), session, sequence, force: false, entry }) as const;
  const placed = { type: "placed", index: asLogIndex(5), term: asTerm(2) } as const;

  it("recognises what it decided, whatever its sender and run", () => {
    const known = new ProposalDeduplicator();
    expect(known.find(id(1), proposal(7, 1))).toBe("new");
    known.record(id(1), proposal(7, 1), placed);
    expect(known.find(id(1), proposal(7, 1))).toEqual(placed);
    for (const [from, session, sequence] of [
      [2, 7, 1],
      [1, 8, 1],
      [1, 7, 2],
    ] as const) {
      expect(known.find(id(from), proposal(session, sequence))).toBe("new");
    }
  });

  it("remembers twice the sender's window, and takes nothing older for new", () => {
    const known = new ProposalDeduplicator();
    const count = 3 * forwardWindow;
    for (let sequence = 1; sequence <= count; sequence++) known.record(id(1), proposal(7, sequence), placed);
    expect(known.find(id(1), proposal(7, 1))).toBe("late");
    expect(known.find(id(1), proposal(7, count - forwardWindow))).toEqual(placed);
    expect(known.find(id(1), proposal(7, count + 1))).toBe("new");
  });
});

describe("ProposalTable", () => {
  const batchOf = (index: number, term: number): AppliedBatch<number> => ({
    entries: [{ index: asLogIndex(index), term: asTerm(term), kind: "normal", data: fromUtf8("other") }],
    results: [1],
    changes: new Map(),
  });

  function proposeOne(proposals: ProposalTable<number>, outcomes: unknown[]) {
    const payload: ProposalPayload<number> = {
      kind: "normal",
      data: fromUtf8("x"),
      resolve: (applied) => outcomes.push(applied),
    };
    const proposal = proposals.add(payload, (error) => outcomes.push(error), {});
    if (proposal === undefined) throw new Error("it was refused");
    proposals.takeWaiting();
    return proposal;
  }

  it("end as not_applied as soon as an entry of a later term is applied below them", () => {
    const proposals = new ProposalTable<number>({ countMax: 9, bytesMax: 99 }, { nowMs: () => 0, onOutcome: () => {} });
    const outcomes: unknown[] = [];
    const proposal = proposeOne(proposals, outcomes);
    proposals.accepted(proposal, asTerm(2));
    proposals.place(proposal, asLogIndex(10), asTerm(2));
    proposals.applied(batchOf(5, 2));
    expect(outcomes).toEqual([]);
    proposals.applied(batchOf(6, 3));
    expect(outcomes).toMatchObject([{ code: "PROPOSAL_DROPPED", outcome: "not_applied" }]);
    expect(proposals.count).toBe(0);
  });

  it("are unknown when their place was told too late to see what was applied there", () => {
    const proposals = new ProposalTable<number>({ countMax: 9, bytesMax: 99 }, { nowMs: () => 0, onOutcome: () => {} });
    const outcomes: unknown[] = [];
    const proposal = proposeOne(proposals, outcomes);
    proposals.accepted(proposal, asTerm(2));
    proposals.applied(batchOf(10, 2));
    proposals.place(proposal, asLogIndex(10), asTerm(2));
    expect(outcomes).toMatchObject([{ code: "OUTCOME_UNKNOWN", outcome: "unknown" }]);
  });
});
