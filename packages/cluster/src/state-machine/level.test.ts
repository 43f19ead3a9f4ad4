import { featureLevels } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { initBody, sampleNode } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";
import { clusterLevel, joinerRefusal, levelHolders, nextLevel } from "./level.ts";

const { base, own } = featureLevels;

/** A cluster whose nodes, from 1 on, report these levels. */
function replicaOf(...levels: readonly number[]): Replica {
  const replica = new Replica();
  const [first = own, ...others] = levels;
  replica.apply({ ...initBody, node: sampleNode(1, { featureLevel: first }) } as typeof initBody);
  for (const [at, featureLevel] of others.entries()) admit(replica, at + 2, featureLevel);
  return replica;
}

const admit = (replica: Replica, id: number, featureLevel: number) =>
  replica.apply({
    type: "node.admit",
    node: sampleNode(id, { featureLevel, version: `1.${featureLevel}` }),
    ticketId: null,
  });
const setLevel = (replica: Replica, level: number) => replica.apply({ type: "cluster.setLevel", level });

describe("cluster.setLevel", () => {
  it("raises the level when every member understands it, and does nothing the second time", () => {
    const replica = replicaOf(own, own);
    expect(clusterLevel(replica.state)).toBe(base);
    expect(setLevel(replica, own)).toEqual({ ok: true, value: { level: own } });
    expect(clusterLevel(replica.state)).toBe(own);
    const raisedAt = replica.index;
    setLevel(replica, own);
    expect(replica.state.level.get("level")).toEqual({ level: own, index: raisedAt });
  });

  it("is refused while a member does not understand it, and names that member", () => {
    const replica = replicaOf(own, 1);
    expect(setLevel(replica, own)).toMatchObject({
      ok: false,
      code: "CONFLICT",
      message: expect.stringContaining("node 2"),
    });
    expect(clusterLevel(replica.state)).toBe(base);
  });
});

describe("joinerRefusal", () => {
  it("is alike on replicas that hold the nodes in another order", () => {
    const nodes = [5, 2].map((id) => [String(id), sampleNode(id, { featureLevel: own, version: `1.${id}` })] as const);
    const level = new Map([["level", { level: own, index: 1 }]]);
    const refusals = [nodes, nodes.toReversed()].map((order) =>
      joinerRefusal({ level, nodes: new Map(order) }, { id: 9, version: "0.1", featureLevel: 1 }),
    );
    expect(refusals[0]?.hint).toContain("node 2 (1.2)");
    expect(refusals[1]).toEqual(refusals[0]);
  });
});

describe("node.admit", () => {
  it("lets in what understands the level of the cluster, also a release that reports less than it understands", () => {
    const replica = replicaOf(own);
    expect(admit(replica, 2, 1)).toMatchObject({ ok: true });
    replica.apply({ type: "node.remove", nodeId: 2 });
    setLevel(replica, own);
    expect(admit(replica, 3, own)).toMatchObject({ ok: true });
  });

  it("refuses a machine below the level, a new one and one that comes back without its store", () => {
    const replica = replicaOf(own, own);
    setLevel(replica, own);
    const refusal = {
      ok: false,
      code: "NEEDS_UPGRADE",
      message: expect.stringContaining("release 1.1"),
      hint: expect.any(String),
    };
    expect(admit(replica, 3, 1)).toMatchObject(refusal);
    expect(admit(replica, 2, 1)).toMatchObject(refusal);
    expect(replica.state.nodes.size).toBe(2);
  });
});

describe("nextLevel", () => {
  it("is what the lowest member and the leader itself understand", () => {
    expect(nextLevel(replicaOf(own, own + 1, own + 4).state, own + 2)).toBe(own);
    expect(nextLevel(replicaOf(own + 4, own + 4).state, own + 2)).toBe(own + 2);
  });

  it("is none while a member holds the level, nor before anything is known", () => {
    expect(nextLevel(replicaOf(own, 1).state, own)).toBeUndefined();
    expect(nextLevel(replicaOf(own, base).state, own)).toBeUndefined();
    expect(nextLevel(new Replica().state, own)).toBeUndefined();
    const risen = replicaOf(own);
    setLevel(risen, own);
    expect(nextLevel(risen.state, own)).toBeUndefined();
  });
});

describe("levelHolders", () => {
  it("are the members below the best of them", () => {
    expect(levelHolders(replicaOf(own, 1, own, base).state).map(({ id }) => id)).toEqual([2, 4]);
    expect(levelHolders(replicaOf(1, base).state)).toEqual([]);
  });
});
