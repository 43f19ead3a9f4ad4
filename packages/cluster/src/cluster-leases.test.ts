import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup, until } from "./testing/cluster-group.ts";

/** Short, and in the same proportions as the defaults. */
const times = { leaseMs: 1_500, leaseRenewMs: 200, leaseGraceMs: 300, leaseDriftMs: 200 };
const spec = { memoryMiB: 64, image: "demo" };

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup(times);
});
afterEach(async () => {
  await group.close();
});

const leaseOf = (id: number) => group.machine(id).vmManager.leaseUntilMs;
const nowAt = (id: number) => group.machine(id).vmManager.leases.nowMs();
const vmAt = (id: number, name: string) => group.node(id).state.vms.get(name);
const desiredAt = (id: number) => group.machine(id).vmManager.desired?.map(({ name }) => name) ?? [];

/** Only this node takes VMs. */
async function only(id: number): Promise<void> {
  for (const other of [1, 2, 3]) await group.call(1, "node.cordon", { id: other, cordoned: other !== id });
}

describe("the lease of a node", () => {
  it("is held by every node, and told to its VM manager", async () => {
    await group.form(3);
    await until(() => [1, 2, 3].every((id) => leaseOf(id) > nowAt(id)));
    const before = leaseOf(2);
    await until(() => leaseOf(2) > before);
  });

  it("is not granted to a node that says that nothing would stop its VMs, and such a VM is placed elsewhere", async () => {
    await group.form(3);
    group.machine(2).vmManager.whyUnguarded = "setpriv is not installed";
    await until(() => leaseOf(2) < nowAt(2));
    await only(2);
    await expect(group.call(1, "vm.create", { name: "web", spec, failIfPending: true })).rejects.toMatchObject({
      code: "NO_CAPACITY",
      message: expect.stringContaining("node 2: nothing there stops a VM that moves: setpriv is not installed"),
    });
    const waits = await group.call(1, "vm.create", { name: "stays", spec: { ...spec, onNodeLoss: "wait" } });
    expect(waits.vm).toMatchObject({ node: 2, lossPolicy: { onPartition: "keep", effect: "waits" } });
  });

  it("is asked for by the node itself only", async () => {
    await group.form(3);
    const meta = { actor: { kind: "node", id: "2" }, access: "node" } as const;
    await expect(group.call(1, "node.renewLease", { nodeId: 3 }, meta)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  });

  it("moves VMs of a lost node when it is over, and leaves those that wait", async () => {
    await group.form(3);
    await only(2);
    await group.call(1, "vm.create", { name: "web", spec });
    await group.call(1, "vm.create", { name: "data", spec: { ...spec, onNodeLoss: "wait" } });
    for (const id of [1, 3]) await group.call(1, "node.cordon", { id, cordoned: false });
    await until(() => desiredAt(2).length === 2);
    const { leaseLeftMs = 0 } = await group.call(1, "vm.candidates", { name: "web" });
    expect(leaseLeftMs).toBeGreaterThan(0);
    expect(leaseLeftMs).toBeLessThanOrEqual(times.leaseMs + times.leaseGraceMs + times.leaseDriftMs);
    expect(await group.call(1, "vm.candidates", { name: "data" })).not.toHaveProperty("leaseLeftMs");
    await group.machine(2).stop();
    const heldUntil = leaseOf(2);
    const [observer] = [1, 3];
    await until(() => vmAt(observer, "web")?.node !== 2);
    expect(nowAt(2)).toBeGreaterThanOrEqual(heldUntil + times.leaseGraceMs);
    const { node = 0, fencingEpoch } = vmAt(observer, "web") ?? {};
    expect(fencingEpoch).toBe(2);
    await until(() => desiredAt(node ?? 0).includes("web"));
    expect(vmAt(observer, "data")).toMatchObject({ node: 2, fencingEpoch: 1 });
    // It comes back, and knows before it has a lease what it has lost.
    await group.restart(2);
    await until(() => leaseOf(2) > heldUntil);
    expect(desiredAt(2)).toEqual(["data"]);
  });

  it("says of a VM that fits nowhere else why, and lets its node have it again", async () => {
    await group.form(3);
    await only(2);
    await group.call(1, "vm.create", { name: "web", spec });
    await until(() => desiredAt(2).length === 1);
    await group.machine(2).stop();
    await until(() => vmAt(1, "web")?.reason === "no-node-fits");
    expect(vmAt(1, "web")).toMatchObject({
      phase: "Pending",
      node: 2,
      message: expect.stringContaining("node 1: it is cordoned; node 2: its lease is over; node 3: it is cordoned"),
    });
    expect(await group.call(1, "vm.candidates", { name: "web" })).toMatchObject({ leaseLeftMs: 0 });
    const heldUntil = leaseOf(2);
    await group.restart(2);
    await until(() => leaseOf(2) > heldUntil);
    await until(() => vmAt(1, "web")?.phase === "Running");
    expect(vmAt(1, "web")).toMatchObject({ node: 2, fencingEpoch: 1 });
  });

  it("lasts longer while a node is stopped to be started again, and is the usual one when it is back", async () => {
    group.machine(2).store = { storeId: "2".repeat(32), starts: 1 };
    await group.form(3);
    await only(2);
    await group.call(1, "vm.create", { name: "web", spec });
    for (const id of [1, 3]) await group.call(1, "node.cordon", { id, cordoned: false });
    await until(() => desiredAt(2).length === 1);
    const askedMs = nowAt(2);
    await group.node(2).shutdown({ restartGraceMs: 60_000 });
    expect(leaseOf(2)).toBeGreaterThanOrEqual(askedMs + 60_000);
    // The next leader has to know of it too: it stands in the state.
    await group.machine(1).stop();
    await group.restart(1);
    const wholeMs = times.leaseMs + times.leaseGraceMs + times.leaseDriftMs;
    await until(() => nowAt(2) > askedMs + 2 * wholeMs && group.leader() !== undefined);
    expect(vmAt(1, "web")).toMatchObject({ node: 2, fencingEpoch: 1 });
    group.machine(2).store = { storeId: "2".repeat(32), starts: 2 };
    await group.restart(2);
    await until(() => group.node(1).state.nodes.get("00002")?.longLease?.ms === 0);
    expect(leaseOf(2)).toBeLessThan(nowAt(2) + times.leaseMs + 1);
    expect(vmAt(1, "web")).toMatchObject({ node: 2, fencingEpoch: 1 });
    // From now on it is lost like every other one.
    await group.machine(2).stop();
    await until(() => vmAt(1, "web")?.node !== 2);
  });

  it("ends with the quorum: nobody has one where no leader can prove that it leads", async () => {
    await group.form(3);
    await group.machine(2).stop();
    await group.machine(3).stop();
    await until(() => leaseOf(1) < nowAt(1));
  });
});

describe("a cluster below the level of leases", () => {
  it("has VMs that stay where they are, as before", async () => {
    group.machine(1).options = { featureLevel: 2 };
    await group.bootstrap();
    const { vm } = await group.call(1, "vm.create", { name: "web", spec });
    expect(vm).not.toHaveProperty("lossPolicy");
    expect(vm.spec.onPartition).toBe("stop");
    expect(await group.call(1, "vm.explain", { name: "web" })).toMatchObject({
      ...{ onNodeLoss: "wait", onPartition: "keep", lossEffect: "waits" },
    });
    await expect(
      group.call(1, "vm.create", { name: "two", spec: { ...spec, onNodeLoss: "move" } }),
    ).rejects.toMatchObject({ code: "NEEDS_UPGRADE" });
    expect(leaseOf(1)).toBe(0);
  });
});
