/** The four roles of nodes, and machines that wait for an operator, in clusters over a network in memory. */
import { sleep } from "@blixard/common";
import { featureLevels } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { JoinPolicy } from "./options.ts";
import { requestJoin } from "./start/join-flow.ts";
import { ClusterGroup, until } from "./testing/cluster-group.ts";
import { endpointIdOf } from "./testing/memory-cluster-network.ts";

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

const spec = { memoryMiB: 64, image: "demo" };
const seedNode = { endpointId: endpointIdOf(1), addresses: ["127.0.0.1:7001"] };

describe("ClusterNode: roles", () => {
  const voters = () => [...(group.leader()?.status().members ?? [])].filter(({ role }) => role === "voter");
  const raftRole = (id: number) => group.node(id).status().role;

  it("gives votes and VMs by the role of the ticket, and keeps to it", async () => {
    await group.bootstrap();
    for (const [id, role] of [
      [2, "worker"],
      [3, "witness"],
      [4, "learner"],
    ] as const) {
      await group.join(id, await group.ticket({ role }));
    }
    await until(() => raftRole(3) === "follower");
    for (let count = 0; count < 4; count++) await group.call(1, "vm.create", { name: `vm-${count}`, spec });
    const { items: vms } = await group.call(1, "vm.list", {});
    expect(vms.map(({ node }) => node).sort()).toEqual([1, 1, 2, 2]);
    expect(vms[0]?.placement).toContain("node 3: a witness runs no VMs; node 4: a learner runs no VMs");
    const { items: nodes } = await group.call(1, "node.list", {});
    expect(nodes.map(({ id, role }) => `${id} ${role}`)).toEqual(["1 voter", "2 worker", "3 witness", "4 learner"]);
    // All have caught up by now: whoever was to be promoted by itself would have been.
    await until(() => [2, 3, 4].every((id) => group.node(id).state.vms.size === 4));
    expect([2, 3, 4].map(raftRole)).toEqual(["learner", "follower", "learner"]);
    expect(voters()).toHaveLength(1);
  });

  it("changes roles when asked: a worker becomes a voter, a witness a learner", async () => {
    await group.bootstrap();
    await group.join(2, await group.ticket({ role: "worker" }));
    await group.join(3, await group.ticket({ role: "witness" }));
    await until(() => raftRole(3) === "follower");
    await group.call(1, "member.setRole", { id: 2, role: "voter" });
    await until(() => raftRole(2) === "follower");
    await group.call(1, "member.setRole", { id: 3, role: "learner" });
    await until(() => raftRole(3) === "learner");
    await group.call(1, "vm.create", { name: "web", spec });
    const owner = (await group.call(1, "vm.get", { name: "web" })).node ?? 0;
    const toWitness = group.call(1, "member.setRole", { id: owner, role: "witness" });
    await expect(toWitness).rejects.toMatchObject({ code: "CONFLICT", hint: expect.stringContaining("witness") });
  });

  it("counts a witness when it judges whether the quorum stays", async () => {
    await group.bootstrap();
    await group.join(2, await group.ticket());
    await group.join(3, await group.ticket({ role: "witness" }));
    await until(() => group.leaderId() !== 0 && raftRole(3) === "follower" && raftRole(2) === "follower");
    await group.machine(3).stop();
    const [other = 0] = [1, 2].filter((id) => id !== group.leaderId());
    const isSilent = async () => (await group.call(1, "node.get", { id: 3 })).state === "unreachable";
    while (!(await isSilent())) await sleep(group.clock, 5);
    const demote = group.call(1, "member.setRole", { id: other, role: "worker" });
    await expect(demote).rejects.toMatchObject({ code: "QUORUM_AT_RISK" });
  });
});

describe("ClusterNode: joining without a ticket", () => {
  const ask = (among: ClusterGroup, id: number, onPending = () => {}) =>
    among.start(id, {
      mode: "join",
      target: { endpoints: [seedNode], ticket: null },
      timeoutMs: 3_000,
      onPending,
      onAdmitted: async () => {},
    });
  const withPolicy = async (joinPolicy: JoinPolicy) => {
    group = new ClusterGroup({ joinPolicy });
    await group.bootstrap();
  };

  it("waits until an operator accepts the key, in the role that the operator gives", async () => {
    await withPolicy("approve");
    let waits = 0;
    const joining = ask(group, 2, () => waits++);
    const pending = async () => (await group.call(1, "join.list", {})).items;
    while ((await pending()).length === 0) await sleep(group.clock, 5);
    expect(await pending()).toMatchObject([{ nodeId: 2, endpointId: endpointIdOf(2), name: "n2" }]);
    expect(group.node(1).state.nodes.size).toBe(1);
    const wrong = group.call(1, "join.accept", { endpointId: endpointIdOf(3) });
    await expect(wrong).rejects.toMatchObject({ code: "NOT_FOUND" });
    const viewer = group.call(1, "join.accept", { endpointId: endpointIdOf(2) }, { access: "viewer" });
    await expect(viewer).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await group.call(1, "join.accept", { endpointId: endpointIdOf(2), role: "worker" });
    await (await joining).untilReady();
    expect(waits).toBe(1);
    expect(await pending()).toEqual([]);
    expect((await group.call(1, "node.get", { id: 2 })).role).toBe("worker");
  });

  it("lets nobody wait where a ticket is needed, nor for the id of another machine", async () => {
    await withPolicy("ticket");
    await expect(ask(group, 2)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await group.close();
    await withPolicy("approve");
    await group.join(2, await group.ticket());
    await group.machine(2).stop();
    const other = group.network.join(2, endpointIdOf(9));
    const joiner = {
      nodeId: 2,
      endpointId: endpointIdOf(9),
      addresses: [],
      capacity: { vcpus: 1, memoryMiB: 1, drivers: [] },
      version: "",
      featureLevel: featureLevels.own,
    };
    const deps = { transport: other.transport, clock: group.clock, random: group.random };
    const target = { endpoints: [seedNode], ticket: null };
    await expect(requestJoin(deps, target, joiner, { timeoutMs: 3_000 })).rejects.toMatchObject({
      code: "DUPLICATE_NODE",
    });
    expect((await group.call(1, "join.list", {})).items).toEqual([]);
  });
});
