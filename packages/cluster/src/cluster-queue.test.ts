import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup, until } from "./testing/cluster-group.ts";

/** Takes nearly all of a node, which has 1,024 MiB. */
const large = { memoryMiB: 800, image: "demo" };
const small = { memoryMiB: 64, image: "demo" };

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

const vmAt = (id: number, name: string) => group.node(id).state.vms.get(name);
const create = (name: string, spec: object, more: object = {}) =>
  group.call(1, "vm.create", { name, spec: { ...large, ...spec }, ...more });

describe("a VM that fits nowhere", () => {
  it("waits with the reasons, and is placed when there is room: by priority, then by age", async () => {
    await group.bootstrap();
    await create("first", {});
    const { vm } = await create("old", {});
    expect(vm).toMatchObject({
      phase: "Pending",
      node: null,
      fencingEpoch: 1,
      reason: "no-node-fits",
      message: expect.stringContaining("0 of 1 nodes fit: node 1: memory needs 864 MiB"),
      placement: "",
    });
    await create("urgent", { placement: { priority: 80 } });
    await create("young", {});
    // What fits is not held up by what does not.
    expect(await create("tiny", small)).toMatchObject({ vm: { node: 1 } });
    for (const [gone, next] of [
      ["first", "urgent"],
      ["urgent", "old"],
      ["old", "young"],
    ] as const) {
      expect(vmAt(1, next)?.node).toBeNull();
      await group.call(1, "vm.desire", { name: gone, desired: "deleted" });
      await until(() => vmAt(1, next)?.phase === "Running");
      expect(vmAt(1, next)).toMatchObject({ node: 1, fencingEpoch: 2, placement: expect.stringContaining("points") });
    }
  });

  it("is refused when that was asked for", async () => {
    await group.bootstrap();
    await create("first", {});
    await expect(create("second", {}, { failIfPending: true })).rejects.toMatchObject({ code: "NO_CAPACITY" });
    expect(vmAt(1, "second")).toBeUndefined();
  });

  it("is stopped and deleted at once, and waits again when it is started", async () => {
    await group.bootstrap();
    await create("first", {});
    await create("second", {});
    const desire = (name: string, desired: "running" | "stopped" | "paused" | "deleted") =>
      group.call(1, "vm.desire", { name, desired });
    expect(await desire("second", "stopped")).toMatchObject({ vm: { phase: "Stopped", node: null } });
    expect(await desire("second", "running")).toMatchObject({
      vm: { phase: "Pending", node: null, reason: "no-node-fits" },
    });
    await expect(desire("second", "paused")).rejects.toMatchObject({ code: "CONFLICT" });
    await desire("second", "deleted");
    expect(vmAt(1, "second")).toBeUndefined();
    expect(await create("off", {}, { desired: "stopped" })).toMatchObject({ vm: { phase: "Stopped", node: null } });
    await desire("first", "deleted");
    await until(() => vmAt(1, "first") === undefined);
    expect(await desire("off", "running")).toMatchObject({ vm: { node: 1 } });
  });

  it("is placed by a new leader, on a node whose labels fit by then", async () => {
    await group.form(3);
    const { vm } = await create(
      "web",
      { ...small, placement: { constraints: ["zone=b"] } },
      { labels: { app: "web" } },
    );
    expect(vm).toMatchObject({
      node: null,
      labels: { app: "web" },
      message: expect.stringContaining("node 1: its labels are not zone=b"),
    });
    await group.machine(1).stop();
    await until(() => group.leader() !== undefined);
    await group.call(2, "node.label", { id: 3, set: { zone: "b", rack: "7" } });
    await until(() => vmAt(2, "web")?.phase === "Running");
    expect(vmAt(2, "web")?.node).toBe(3);
    expect(await group.call(2, "node.label", { id: 3, unset: ["zone"] })).toMatchObject({ labels: { rack: "7" } });
    expect(vmAt(2, "web")?.node).toBe(3);
  });

  it("keeps the volume that it asks for from others meanwhile", async () => {
    await group.form(3);
    await group.call(1, "volume.create", { name: "db", sizeGiB: 1, node: 3 });
    const disks = [{ name: "data", volume: "db" }];
    await until(() => group.node(1).state.volumes.get("db")?.state === "ready");
    await group.call(1, "node.cordon", { id: 3, cordoned: true });
    expect(await create("one", { ...small, disks })).toMatchObject({ vm: { node: null } });
    await expect(create("two", { ...small, disks })).rejects.toMatchObject({ code: "CONFLICT" });
    await group.call(1, "node.cordon", { id: 3, cordoned: false });
    await until(() => vmAt(1, "one")?.node === 3);
  });
});

describe("the settings of the scheduler", () => {
  it("are those of the cluster, take effect at once, and let VMs in that wait", async () => {
    await group.form(3);
    await group.call(2, "scheduling.set", { vcpuOvercommit: 1 });
    expect(await group.call(3, "scheduling.get", {})).toEqual({
      strategy: "spread",
      vcpuOvercommit: 1,
      diskOvercommit: 1,
    });
    const spec = { ...small, vcpus: 5 };
    expect(await create("web", spec)).toMatchObject({
      vm: { node: null, message: expect.stringContaining("node 1: vcpus needs 5, 4 of 4 free") },
    });
    await group.call(1, "scheduling.set", { vcpuOvercommit: 1.25, strategy: "binpack" });
    await until(() => vmAt(1, "web")?.phase === "Running");
    expect((await group.call(1, "scheduling.get", {})).strategy).toBe("binpack");
  });
});

describe("vm.candidates", () => {
  it("says of each node what it thinks of a VM, and changes nothing", async () => {
    await group.form(3);
    await group.call(1, "node.cordon", { id: 2, cordoned: true });
    const report = await group.call(2, "vm.candidates", { spec: small, labels: { app: "web" } });
    expect(report).toMatchObject({
      nodeId: 1,
      nodes: [
        { nodeId: 1, fits: true, score: 208 },
        { nodeId: 3, fits: true, score: 208 },
        { nodeId: 2, fits: false, reason: "it is cordoned" },
      ],
    });
    expect(group.node(1).state.vms.size).toBe(0);
    await create("web", small);
    // The VM itself takes no room from itself.
    const known = await group.call(1, "vm.candidates", { name: "web" });
    expect(known).toMatchObject({ nodeId: 1, nodes: report.nodes });
    expect(known.ifLost).toMatchObject({ nodeId: 3 });
    // The lease of its node, and what is added to it, from the beginning.
    expect(known.ifLost?.withinMs).toBeGreaterThan(known.leaseLeftMs ?? Number.POSITIVE_INFINITY);
    await group.call(1, "node.cordon", { id: 3, cordoned: true });
    expect((await group.call(1, "vm.candidates", { name: "web" })).ifLost).toMatchObject({
      nodeId: null,
      message: expect.stringContaining("node 3: it is cordoned"),
    });
  });
});

describe("room for disks", () => {
  it("is promised once, to disks and volumes together, and what is there already starts again", async () => {
    await group.bootstrap();
    const { diskRoom } = group.machine(1).vmManager;
    diskRoom.set({ totalMiB: 4_096, freeMiB: 4_096 });
    await until(() => group.node(1).state.nodes.get("00001")?.capacity.disk !== undefined);
    const disks = (sizeGiB: number) => ({ ...small, disks: [{ name: "data", sizeGiB }] });
    await create("one", disks(2));
    await group.call(1, "volume.create", { name: "db", sizeGiB: 1 });
    await expect(create("two", disks(2), { failIfPending: true })).rejects.toMatchObject({
      message: expect.stringContaining("disks need 2048 MiB, 1024 of 4096 are not promised"),
    });
    const larger = group.call(1, "volume.resize", { name: "db", sizeGiB: 3 });
    await expect(larger).rejects.toMatchObject({ code: "NO_CAPACITY" });
    await expect(group.call(1, "volume.create", { name: "log", sizeGiB: 2 })).rejects.toMatchObject({
      code: "NO_CAPACITY",
    });
    await until(() => vmAt(1, "one")?.phase === "Running");
    await group.call(1, "vm.desire", { name: "one", desired: "stopped" });
    await until(() => vmAt(1, "one")?.phase === "Stopped");
    diskRoom.set({ totalMiB: 4_096, freeMiB: 10 });
    await until(() => group.node(1).state.nodes.get("00001")?.capacity.disk?.freeMiB === 10);
    await create("two", disks(1));
    expect(vmAt(1, "two")?.message).toContain("disks need 1024 MiB, 10 are free there");
    expect(await group.call(1, "vm.desire", { name: "one", desired: "running" })).toMatchObject({ vm: { node: 1 } });
    // Promised more than there is, it is no longer what keeps the VM out.
    await group.call(1, "scheduling.set", { diskOvercommit: 200 });
    await until(() => vmAt(1, "two")?.phase === "Running");
  });
});

describe("a VM of a higher priority", () => {
  it("has one stopped that may be preempted, and no other, and takes its room", async () => {
    await group.bootstrap();
    const cheap = { placement: { priority: 10, preemptible: true } };
    await create("cheap", { ...cheap, memoryMiB: 300 });
    await create("firm", { memoryMiB: 300, placement: { priority: 10 } });
    const { vm } = await create("urgent", { memoryMiB: 400, placement: { priority: 90 } });
    expect(vm.node).toBeNull();
    await until(() => vmAt(1, "urgent")?.phase === "Running");
    expect(vmAt(1, "cheap")).toMatchObject({ desired: "stopped", node: 1, preempted: { by: "urgent" } });
    expect(vmAt(1, "firm")?.desired).toBe("running");
    await group.call(1, "vm.desire", { name: "urgent", desired: "deleted" });
    await until(() => vmAt(1, "urgent") === undefined);
    const started = await group.call(1, "vm.desire", { name: "cheap", desired: "running" });
    expect(started.vm.preempted).toBeUndefined();
  });

  it("waits like others where only VMs are that have not said so, or are worth as much", async () => {
    await group.bootstrap();
    await create("firm", {});
    await create("same", { placement: { priority: 90, preemptible: true } });
    await create("urgent", { placement: { priority: 90 } });
    expect(await group.call(1, "vm.candidates", { name: "urgent" })).not.toHaveProperty("preempts");
    expect(vmAt(1, "firm")?.desired).toBe("running");
  });
});

describe("capacity.get", () => {
  it("says what is taken, what waits, and what would become of the VMs of a node without it", async () => {
    await group.form(3);
    for (const id of [2, 3]) await group.call(1, "node.cordon", { id, cordoned: true });
    await create("web", { memoryMiB: 300 });
    await create("worth", { memoryMiB: 300, placement: { priority: 60 } });
    await create("bound", { memoryMiB: 64, onNodeLoss: "wait" });
    await create("later", { memoryMiB: 700 });
    await group.call(1, "node.cordon", { id: 2, cordoned: false });
    await until(() => vmAt(1, "later")?.node === 2);
    await create("huge", { memoryMiB: 2_000 });
    const { nodes, waiting, lost } = await group.call(2, "capacity.get", { ifLost: 1 });
    expect(nodes).toMatchObject([
      { nodeId: 1, vms: 3, vcpus: { used: 3, allowed: 64 }, memoryMiB: { used: 856, allowed: 1_024 } },
      { nodeId: 2, vms: 1 },
      { nodeId: 3, vms: 0, closed: "it is cordoned" },
    ]);
    expect(waiting).toEqual(["huge"]);
    expect(lost).toMatchObject([
      { vm: "worth", becomes: "pending", why: expect.stringContaining("node 1: its lease is over; node 2: memory") },
      { vm: "bound", becomes: "waits" },
      { vm: "web", becomes: "pending" },
    ]);
    await group.call(1, "node.cordon", { id: 3, cordoned: false });
    const again = await group.call(2, "capacity.get", { ifLost: 1 });
    expect(again.lost).toMatchObject([{ vm: "worth", becomes: "moves", to: 3 }, {}, { vm: "web", to: 3 }]);
  });
});

describe("a quota", () => {
  it("limits what the VMs of a project take, and no others", async () => {
    await group.bootstrap();
    const labels = { project: "lab" };
    await group.call(1, "quota.set", { project: "lab", quota: { vms: 2, memoryMiB: 200 } });
    await create("one", { memoryMiB: 100 }, { labels });
    await expect(create("large", { memoryMiB: 101 }, { labels })).rejects.toMatchObject({
      code: "QUOTA_EXCEEDED",
      message: "the project lab has 100 of 200 MiB of memory, and this is 101 more",
    });
    await create("two", { memoryMiB: 64 }, { labels, desired: "stopped" });
    await expect(create("three", { memoryMiB: 8 }, { labels })).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
    await create("other", { memoryMiB: 64 });
    expect((await group.call(1, "quota.list", {})).items).toEqual([
      {
        project: "lab",
        quota: { vms: 2, memoryMiB: 200 },
        used: { vms: 2, vcpus: 2, memoryMiB: 164, diskMiB: 0 },
      },
    ]);
    await group.call(1, "quota.remove", { project: "lab" });
    await create("three", { memoryMiB: 8 }, { labels });
  });
});
