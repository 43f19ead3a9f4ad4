import type { NodeRecord } from "@blixard/protocol";
import { asLogIndex, asNodeId, emptyConfState, type ProgressStatus } from "@blixard/raft";
import { describe, expect, it } from "@jest/globals";
import { sampleNode } from "../testing/command-samples.ts";
import { type MembershipView, planMembership } from "./membership-plan.ts";

const peer = (id: number, match: number, recentActive = true): ProgressStatus => ({
  id: asNodeId(id),
  state: "StateReplicate",
  match: asLogIndex(match),
  next: asLogIndex(match + 1),
  learner: true,
  paused: false,
  pendingSnapshot: asLogIndex(0),
  recentActive,
  inflight: 0,
  inflightFull: false,
});

function view(
  nodes: readonly NodeRecord[],
  configured: { readonly voters: readonly number[]; readonly learners?: readonly number[] },
  progress: readonly ProgressStatus[] = [],
): MembershipView {
  return {
    selfId: 1,
    nodes,
    confState: {
      ...emptyConfState(),
      voters: configured.voters.map(asNodeId),
      learners: (configured.learners ?? []).map(asNodeId),
    },
    progress,
    commitIndex: 1_000,
    promotionLagEntries: 10,
    catchUpTo: new Map([2, 3, 4].map((id) => [id, 980])),
  };
}

describe("planMembership", () => {
  const one = sampleNode(1);

  it("does nothing while nothing differs, or nobody is known", () => {
    expect(planMembership(view([one], { voters: [1] }))).toBeUndefined();
    expect(planMembership(view([], { voters: [1] }))).toBeUndefined();
  });

  it("takes a voter out that came back without its store, before the new incarnation may come in", () => {
    const nodes = [one, sampleNode(2), sampleNode(3, { rejoining: true })];
    const out = { type: "configure", op: "remove", nodeId: 3 };
    expect(planMembership(view(nodes, { voters: [1, 2, 3] }))).toEqual(out);
    expect(planMembership(view(nodes, { voters: [1, 2], learners: [3] }))).toEqual(out);
    expect(planMembership(view(nodes, { voters: [1, 2] }))).toEqual({ type: "readmit", nodeId: 3 });
  });

  it("adds an admitted voter as a learner, and promotes it when it has caught up and answers", () => {
    const nodes = [one, sampleNode(2)];
    const promote = { type: "configure", op: "addVoter", nodeId: 2 };
    expect(planMembership(view(nodes, { voters: [1] }))).toEqual({ type: "configure", op: "addLearner", nodeId: 2 });
    const learning = { voters: [1], learners: [2] };
    expect(planMembership(view(nodes, learning, [peer(2, 989)]))).toBeUndefined();
    expect(planMembership(view(nodes, learning, [peer(2, 990, false)]))).toBeUndefined();
    expect(planMembership(view(nodes, learning, [peer(2, 990)]))).toEqual(promote);
  });

  it("promotes no learner whose log does not reach what was committed when it was first seen to answer", () => {
    const plan = view([one, sampleNode(2)], { voters: [1], learners: [2] }, [peer(2, 995)]);
    const promote = { type: "configure", op: "addVoter", nodeId: 2 };
    expect(planMembership({ ...plan, catchUpTo: new Map() })).toBeUndefined();
    expect(planMembership({ ...plan, catchUpTo: new Map([[2, 996]]) })).toBeUndefined();
    expect(planMembership({ ...plan, catchUpTo: new Map([[2, 995]]) })).toEqual(promote);
  });

  it("lets witnesses vote, and keeps workers and learners as learners however far they have caught up", () => {
    const nodes = [one, sampleNode(2, { role: "worker" }), sampleNode(3, { role: "learner" })];
    const learning = { voters: [1], learners: [2, 3, 4] };
    const progress = [peer(2, 1_000), peer(3, 1_000), peer(4, 1_000)];
    expect(planMembership(view(nodes, { ...learning, learners: [2, 3] }, progress))).toBeUndefined();
    const witness = [...nodes, sampleNode(4, { role: "witness" })];
    const promote = { type: "configure", op: "addVoter", nodeId: 4 };
    expect(planMembership(view(witness, learning, progress))).toEqual(promote);
  });

  it("takes a leaving node out of the configuration first, and then removes its record", () => {
    const nodes = [one, sampleNode(2, { leaving: true })];
    const out = { type: "configure", op: "remove", nodeId: 2 };
    expect(planMembership(view(nodes, { voters: [1, 2] }))).toEqual(out);
    expect(planMembership(view(nodes, { voters: [1] }))).toEqual({ type: "removeRecord", nodeId: 2 });
    expect(planMembership(view([one], { voters: [1, 2] }))).toEqual(out);
  });

  it("demotes a voter, and leaves its own exit to another leader", () => {
    const nodes = [one, sampleNode(2, { role: "learner" })];
    expect(planMembership(view(nodes, { voters: [1, 2] }))).toMatchObject({ op: "addLearner", nodeId: 2 });
    const leaving = [sampleNode(1, { leaving: true }), sampleNode(2)];
    expect(planMembership(view(leaving, { voters: [1, 2] }))).toEqual({ type: "handOver" });
    const learner = [sampleNode(1, { role: "learner" }), sampleNode(2)];
    expect(planMembership(view(learner, { voters: [1, 2] }))).toEqual({ type: "handOver" });
  });

  it("waits while a joint configuration is left", () => {
    const plan = view([one, sampleNode(2)], { voters: [1] });
    const joint = { ...plan.confState, votersOutgoing: [asNodeId(1)] };
    expect(planMembership({ ...plan, confState: joint })).toBeUndefined();
  });
});
