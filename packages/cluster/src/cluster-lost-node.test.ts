import type { VmSpecInput } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup, until } from "./testing/cluster-group.ts";

/** Short, and in the same proportions as the defaults. */
const times = { leaseMs: 1_500, leaseRenewMs: 200, leaseGraceMs: 300, leaseDriftMs: 200 };
const spec = { memoryMiB: 64, image: "demo" };

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup(times);
  await group.form(3);
});
afterEach(async () => {
  await group.close();
});

const vmAt = (id: number, name: string) => group.node(id).state.vms.get(name);
const desiredAt = (id: number) => group.machine(id).vmManager.desired?.map(({ name }) => name) ?? [];
const desire = (name: string, desired: "running" | "stopped" | "paused" | "deleted", force = false) =>
  group.call(1, "vm.desire", { name, desired, force });

/** VMs on node 2, which is then lost. Answers when its lease may have begun last. */
async function loseNodeWith(vms: Readonly<Record<string, Partial<VmSpecInput>>>): Promise<number> {
  for (const id of [1, 3]) await group.call(1, "node.cordon", { id, cordoned: true });
  for (const [name, fields] of Object.entries(vms)) {
    await group.call(1, "vm.create", { name, spec: { ...spec, ...fields } });
  }
  await until(() => Object.keys(vms).every((name) => vmAt(1, name)?.phase === "Running"));
  await group.machine(2).stop();
  const { leaseUntilMs } = group.machine(2).vmManager;
  await until(() => Object.keys(vms).every((name) => vmAt(1, name)?.phase === "Unknown"));
  return leaseUntilMs;
}

const nowMs = () => group.machine(2).vmManager.leases.nowMs();

describe("a command on a VM of a lost node", () => {
  it("is refused at once with the reason and what can be done, and changes nothing", async () => {
    await loseNodeWith({ moves: {}, waits: { onNodeLoss: "wait" } });
    await expect(desire("waits", "stopped")).rejects.toMatchObject({
      code: "NODE_LOST",
      message: "node 2 does not answer, and the VM waits may still run there",
      hint: expect.stringContaining("blixard vm stop waits --force, which takes effect when node 2 is back"),
      outcome: "not_applied",
    });
    await expect(desire("moves", "stopped")).rejects.toMatchObject({
      message: expect.stringMatching(/; it is started elsewhere in \d s at most, when the lease of node 2 is over$/),
      hint: expect.stringContaining("takes effect when the lease of node 2 is over"),
    });
    await expect(desire("waits", "deleted")).rejects.toMatchObject({
      hint: expect.stringContaining("blixard vm delete waits --force"),
    });
    for (const desired of ["running", "paused"] as const) {
      await expect(desire("waits", desired)).rejects.toMatchObject({ code: "NODE_LOST" });
    }
    await expect(group.call(1, "vm.consoleRead", { name: "waits", offset: 0 })).rejects.toMatchObject({
      code: "NODE_LOST",
      hint: expect.stringContaining("blixard vm explain waits"),
    });
    expect(vmAt(1, "waits")).toMatchObject({ desired: "running", node: 2, fencingEpoch: 1 });
  });

  it("of which nobody hears any more does not count as running", async () => {
    await group.call(1, "vm.create", { name: "web", spec });
    await until(() => vmAt(1, "web")?.phase === "Running");
    const silent = vmAt(1, "web")?.node ?? 0;
    const [asked = 0, last = 0] = [1, 2, 3].filter((id) => id !== silent);
    await until(() => vmAt(asked, "web")?.phase === "Running");
    expect(group.node(asked).status().vms).toEqual({ total: 1, running: 1 });
    await Promise.all([silent, last].map((id) => group.machine(id).stop()));
    await until(() => group.node(asked).status().vms.running === 0);
    expect(group.node(asked).status()).toMatchObject({ leaderId: null, vms: { total: 1 } });
  });

  it("goes through again when the node is back", async () => {
    await loseNodeWith({ waits: { onNodeLoss: "wait" } });
    await group.restart(2);
    await until(() => vmAt(1, "waits")?.phase === "Running");
    await desire("waits", "stopped");
    await until(() => vmAt(1, "waits")?.phase === "Stopped");
  });

  it("is allowed where the VM does not run, and asks for nothing new", async () => {
    for (const id of [1, 3]) await group.call(1, "node.cordon", { id, cordoned: true });
    await group.call(1, "vm.create", { name: "off", spec: { ...spec, onNodeLoss: "wait" }, desired: "stopped" });
    await group.machine(2).stop();
    await until(() => (vmAt(1, "off")?.conditions.length ?? 0) > 0);
    await expect(desire("off", "stopped")).resolves.toMatchObject({ vm: { phase: "Stopped" } });
    await expect(desire("off", "running")).rejects.toMatchObject({ code: "NODE_LOST" });
  });
});

describe("a stop of a VM of a lost node that is forced", () => {
  it("is done when the lease is over, and not before; the VM starts elsewhere then", async () => {
    const leaseUntilMs = await loseNodeWith({ web: {} });
    const { effect } = await desire("web", "stopped", true);
    expect(effect).toMatch(/^recorded; it is stopped within \d s, when the lease of node 2 is over$/);
    expect(vmAt(1, "web")).toMatchObject({ desired: "stopped", phase: "Unknown", node: 2 });
    await until(() => vmAt(1, "web")?.phase === "Stopped");
    expect(nowMs()).toBeGreaterThanOrEqual(leaseUntilMs + times.leaseGraceMs);
    expect(vmAt(1, "web")).toMatchObject({ node: null, fencingEpoch: 2, reason: "node-lost" });
    await group.call(1, "node.cordon", { id: 1, cordoned: false });
    await expect(desire("web", "running")).resolves.toMatchObject({ vm: { node: 1, fencingEpoch: 3 } });
    await group.restart(2);
    await until(() => group.machine(2).vmManager.leaseUntilMs > nowMs());
    expect(desiredAt(2)).toEqual([]);
  });

  it("waits for the node of a VM that runs on without a lease, and starts it nowhere else", async () => {
    await loseNodeWith({ data: { onNodeLoss: "wait" }, other: {} });
    const { effect } = await desire("data", "stopped", true);
    expect(effect).toBe("recorded; it is stopped when node 2 is back, and until then it may run there");
    await desire("other", "stopped", true);
    // Its lease is over by now, and the other one does not depend on it.
    await until(() => vmAt(1, "other")?.phase === "Stopped");
    expect(vmAt(1, "data")).toMatchObject({ phase: "Unknown", node: 2, fencingEpoch: 1 });
    await expect(desire("data", "running")).rejects.toMatchObject({ code: "NODE_LOST" });
    await group.restart(2);
    await until(() => vmAt(1, "data")?.phase === "Stopped");
    expect(vmAt(1, "data")).toMatchObject({ node: 2, fencingEpoch: 1 });
  });

  it("is nothing special where the node answers", async () => {
    await group.call(1, "vm.create", { name: "web", spec });
    const stopped = await desire("web", "stopped", true);
    expect(stopped).not.toHaveProperty("effect");
    await until(() => vmAt(1, "web")?.phase === "Stopped");
    await expect(desire("web", "running", true)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("a deletion of a VM of a lost node that is forced", () => {
  it("forgets the record at once, and the node ends what it has when it is back", async () => {
    await loseNodeWith({ data: { onNodeLoss: "wait" } });
    const { effect } = await desire("data", "deleted", true);
    expect(effect).toBe("forgotten; what runs of it ends when node 2 is back, and until then it may run there");
    expect(vmAt(1, "data")).toBeUndefined();
    expect(desiredAt(2)).toEqual(["data"]);
    await group.restart(2);
    await until(() => desiredAt(2).length === 0);
  });

  it("is not needed for what was to be deleted before the node was lost: it goes with the lease", async () => {
    for (const id of [1, 3]) await group.call(1, "node.cordon", { id, cordoned: true });
    await group.call(1, "vm.create", { name: "web", spec });
    await until(() => vmAt(1, "web")?.phase === "Running");
    await group.machine(2).stop();
    // Nobody has missed it yet.
    await expect(desire("web", "deleted")).resolves.toMatchObject({ vm: { desired: "deleted" } });
    const { leaseUntilMs } = group.machine(2).vmManager;
    await until(() => vmAt(1, "web") === undefined);
    expect(nowMs()).toBeGreaterThanOrEqual(leaseUntilMs + times.leaseGraceMs);
  });
});

describe("the start of a stopped VM", () => {
  it("is refused where its node has no watchdog for it", async () => {
    for (const id of [1, 3]) await group.call(1, "node.cordon", { id, cordoned: true });
    await group.call(1, "vm.create", { name: "web", spec, desired: "stopped" });
    group.machine(2).vmManager.whyUnguarded = "setpriv is not installed";
    await until(() => group.machine(2).vmManager.leaseUntilMs < nowMs());
    await expect(desire("web", "running")).rejects.toMatchObject({
      code: "NO_CAPACITY",
      message: expect.stringContaining("node 2: nothing there stops a VM that moves: setpriv is not installed"),
    });
    group.machine(2).vmManager.whyUnguarded = undefined;
    await until(() => group.machine(2).vmManager.leaseUntilMs > nowMs());
    // A cordon keeps new VMs away, and takes no place that was given.
    await group.call(1, "node.cordon", { id: 2, cordoned: true });
    await expect(desire("web", "running")).resolves.toMatchObject({ vm: { node: 2 } });
  });
});
