/** Clusters whose nodes are of different releases, over a network in memory: what holds the level, and what rises it. */
import { entryLevel, featureLevels } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { clusterLevel } from "./state-machine/level.ts";
import { nodeKey } from "./state-machine/state.ts";
import { ClusterGroup, until } from "./testing/cluster-group.ts";

const { base, own } = featureLevels;
/** Releases before this one understand the base level and report 1. */
const oldRelease = { featureLevel: 1, version: "0.1.0" };
const ownRelease = { featureLevel: own, version: "0.2.0" };
const nextRelease = { featureLevel: own + 1, version: "0.3.0" };

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

/** Nodes from 1 on, each of its release. */
async function form(...releases: readonly (typeof oldRelease)[]): Promise<void> {
  for (const [at, release] of releases.entries()) group.machine(at + 1).options = release;
  await group.form(releases.length);
}

async function upgrade(id: number, release: typeof oldRelease = ownRelease): Promise<void> {
  group.machine(id).options = release;
  await (await group.restart(id)).untilReady();
}

const levelAt = (id: number) => clusterLevel(group.node(id).state);

/** The highest level that an entry states in any log of the group. */
async function highestEntryLevel(...ids: readonly number[]): Promise<number> {
  let highest = 0;
  for (const id of ids) {
    for (const entry of (await group.machine(id).log.load()).entries) {
      if (entry.kind === "normal") highest = Math.max(highest, entryLevel(entry.data));
    }
  }
  return highest;
}

describe("a cluster of two releases", () => {
  it.each([
    ["an old node", 1],
    ["a new node", 3],
  ])("works with %s as leader, and proposes nothing that the old ones do not understand", async (_, leader) => {
    await form(oldRelease, oldRelease, ownRelease);
    await group.call(1, "leader.transfer", { to: leader });
    await until(() => group.leaderId() === leader);
    await group.call(2, "kv.put", { key: "a", value: "1" });
    await group.call(3, "token.create", { role: "viewer" });
    await group.call(leader, "snapshot.take", {});
    expect(await group.call(2, "kv.get", { key: "a" })).toMatchObject({ value: "1" });
    expect(await group.call(3, "status.get", {})).toMatchObject({
      featureLevel: own,
      clusterLevel: base,
      levelHeldBy: [1, 2],
    });
    expect(await highestEntryLevel(1, 2, 3)).toBe(base);
    expect(group.nodes().map((node) => node.state.level.size)).toEqual([0, 0, 0]);
  });

  it("refuses a VM that fits nowhere, and what says where one may be, which old members have no word for", async () => {
    await form(oldRelease, ownRelease, ownRelease);
    await group.call(3, "leader.transfer", { to: 3 });
    await until(() => group.leaderId() === 3);
    const spec = { memoryMiB: 64, image: "demo" };
    const create = (name: string, more: object, fields: object = {}) =>
      group.call(2, "vm.create", { name, spec: { ...spec, ...more }, ...fields });
    await expect(create("large", { memoryMiB: 100_000 })).rejects.toMatchObject({ code: "NO_CAPACITY" });
    await expect(create("near", { placement: { priority: 1 } })).rejects.toMatchObject({ code: "NEEDS_UPGRADE" });
    await expect(create("labelled", {}, { labels: { app: "web" } })).rejects.toMatchObject({ code: "NEEDS_UPGRADE" });
    const label = group.call(2, "node.label", { id: 1, set: { zone: "a" } });
    await expect(label).rejects.toMatchObject({ code: "NEEDS_UPGRADE" });
    expect(group.node(3).state.vms.size).toBe(0);
    expect(await highestEntryLevel(1, 2, 3)).toBeLessThan(own);
  });

  it("rises when its last old node is upgraded", async () => {
    await form(oldRelease, oldRelease, oldRelease);
    await upgrade(1);
    await upgrade(3);
    await until(() => group.node(1).status().levelHeldBy?.join() === "2");
    expect([1, 2, 3].map(levelAt)).toEqual([base, base, base]);
    await upgrade(2);
    await until(() => [1, 2, 3].every((id) => levelAt(id) === own));
    expect(group.node(2).status()).toMatchObject({ clusterLevel: own, levelHeldBy: [] });
  });

  it("is held by a dead node until that one is removed", async () => {
    await form(oldRelease, ownRelease, ownRelease);
    await group.machine(1).stop();
    await group.call(2, "kv.put", { key: "a", value: "1" });
    expect(group.node(2).status()).toMatchObject({ clusterLevel: base, levelHeldBy: [1] });
    await group.call(2, "member.remove", { id: 1, force: true });
    await until(() => [2, 3].every((id) => levelAt(id) === own));
    const { level, removed } = group.node(2).state;
    expect(level.get("level")?.index).toBeGreaterThan(removed.get(nodeKey(1))?.index ?? Number.POSITIVE_INFINITY);
  });
});

describe("a node below the level of the cluster", () => {
  it("is not let in, neither with a ticket nor to wait for an operator", async () => {
    group = new ClusterGroup({ joinPolicy: "approve" });
    await form(ownRelease);
    await until(() => levelAt(1) === own);
    group.machine(2).options = oldRelease;
    const refusal = { code: "NEEDS_UPGRADE", message: expect.stringContaining("release 0.1.0") };
    await expect(group.join(2, await group.ticket())).rejects.toMatchObject(refusal);
    await group.machine(2).stop();
    const endpoints = [...group.node(1).state.nodes.values()];
    const target = { endpoints, ticket: null };
    const asked = group.start(2, { mode: "join", target, timeoutMs: 3_000, onAdmitted: async () => {} });
    await expect(asked).rejects.toMatchObject({ ...refusal, hint: expect.stringContaining("node 1 (0.2.0)") });
    expect(group.node(1).state.nodes.size).toBe(1);
    expect((await group.call(1, "join.list", {})).items).toEqual([]);
  });

  it("does not start on the state of a later release, and does with that release", async () => {
    await form(nextRelease, nextRelease);
    await until(() => levelAt(2) === own + 1);
    await group.machine(2).stop();
    group.machine(2).options = ownRelease;
    await expect(group.restart(2)).rejects.toMatchObject({ code: "NEEDS_UPGRADE" });
    expect(group.machine(2).node).toBeUndefined();
    await upgrade(2, nextRelease);
    expect(levelAt(2)).toBe(own + 1);
  });

  it.each([
    ["an entry", {}],
    ["a snapshot", { raft: { snapshotEntries: 8, trailingEntries: 2 } }],
  ])("stops before %s of a later release, and goes on with that release", async (_, options) => {
    group = new ClusterGroup(options);
    await form(ownRelease, nextRelease, nextRelease);
    await until(() => levelAt(1) === own);
    await group.machine(1).stop();
    // Its record says more than the node understands that starts again: somebody has gone back to an older release.
    const speaker = { actor: { kind: "node", id: "1" }, access: "node" } as const;
    await until(() => group.leaderId() !== 0);
    await group.call(group.leaderId(), "node.update", { nodeId: 1, featureLevel: own + 1 }, speaker);
    await until(() => levelAt(2) === own + 1);
    for (let at = 0; at < 20; at++) await group.call(2, "kv.put", { key: `k${at}`, value: "v" });
    const stopped = await group.restart(1);
    await stopped.lifecycle.until(({ phase }) => phase === "failed");
    expect(stopped.lifecycle.value.error).toMatchObject({ code: "NEEDS_UPGRADE" });
    expect(group.machine(1).fatal).toMatchObject({ code: "NEEDS_UPGRADE" });
    expect(stopped.state.kv.size).toBe(0);
    await upgrade(1, nextRelease);
    expect(levelAt(1)).toBe(own + 1);
    expect(group.node(1).state.kv.size).toBe(20);
  });
});
