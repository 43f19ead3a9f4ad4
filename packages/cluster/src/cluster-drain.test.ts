import type { OperationRecord, RequestOf, VmSpecInput } from "@blixard/protocol";
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
const operationAt = (id: number, operation: string) => group.node(id).state.operations.get(operation);
const cordonedAt = (id: number, node: number) =>
  group.node(id).state.nodes.get(String(node).padStart(5, "0"))?.cordoned;

/** VMs on one node, which run. */
async function runOn(node: number, vms: Readonly<Record<string, Partial<VmSpecInput>>>): Promise<void> {
  const others = [1, 2, 3].filter((id) => id !== node);
  for (const id of others) await group.call(1, "node.cordon", { id, cordoned: true });
  for (const [name, fields] of Object.entries(vms)) {
    await group.call(1, "vm.create", { name, spec: { ...spec, ...fields } });
  }
  for (const id of others) await group.call(1, "node.cordon", { id, cordoned: false });
  await until(() => Object.keys(vms).every((name) => vmAt(1, name)?.phase === "Running"));
}

/** Resolves with the record of an operation that has ended, as node `at` has it. */
async function ended(operation: OperationRecord | undefined, at = 1): Promise<OperationRecord> {
  const id = operation?.id ?? "";
  await until(() => (operationAt(at, id)?.state ?? "running") !== "running");
  const found = operationAt(at, id);
  if (found === undefined) throw new Error("the operation is gone");
  return found;
}

const drain = (request: Partial<RequestOf<"node.drain">> = {}) => group.call(1, "node.drain", { id: 2, ...request });
const resume = (request: Partial<RequestOf<"node.resume">> = {}) => group.call(1, "node.resume", { id: 2, ...request });

/** Whether two of the nodes were told to run the VM. */
function runsTwice(name: string, nodes: readonly number[]): boolean {
  const wanted = nodes.filter((id) =>
    group.machine(id).vmManager.desired?.some((vm) => vm.name === name && vm.desired === "running"),
  );
  return wanted.length > 1;
}

describe("node.drain", () => {
  it("moves what moves, stops the rest, and node.resume brings all of it back", async () => {
    await runOn(2, { a: {}, b: {}, data: { onNodeLoss: "wait" } });
    const { operation, plan } = await drain();
    expect(plan.map(({ vm, action }) => [vm, action])).toEqual([
      ["a", "move"],
      ["b", "move"],
      ["data", "stop"],
    ]);
    expect(await ended(operation)).toMatchObject({
      state: "done",
      percent: 100,
      message: "2 VMs moved, 1 stopped, 0 left",
    });
    for (const name of ["a", "b"])
      expect(vmAt(1, name)).toMatchObject({ phase: "Running", fencingEpoch: 3, home: { node: 2 } });
    expect([vmAt(1, "a")?.node, vmAt(1, "b")?.node]).not.toContain(2);
    expect(vmAt(1, "data")).toMatchObject({ node: 2, phase: "Stopped", desired: "stopped", held: { next: "stay" } });
    expect(cordonedAt(1, 2)).toBe(true);
    const back = await resume();
    expect(await ended(back.operation)).toMatchObject({ state: "done", message: "3 VMs back, 0 left" });
    for (const name of ["a", "b", "data"]) {
      expect(vmAt(1, name)).toMatchObject({ node: 2, phase: "Running", desired: "running" });
      expect(vmAt(1, name)).not.toHaveProperty("home");
      expect(vmAt(1, name)).not.toHaveProperty("held");
    }
    expect(cordonedAt(1, 2)).toBe(false);
  });

  it("takes no VM to a node whose port leads to another one", async () => {
    const forwards = [{ port: 8080, to: 80 }];
    await runOn(3, { other: { forwards } });
    // The other one has more to do.
    await runOn(1, { b: {}, c: {}, d: {} });
    await runOn(2, { a: { forwards } });
    const { operation } = await drain();
    expect(await ended(operation)).toMatchObject({ state: "done" });
    expect(vmAt(1, "a")?.node).toBe(1);
    expect(vmAt(1, "other")?.node).toBe(3);
  });

  it("says in a dry run what it would do, and does nothing", async () => {
    await runOn(2, { a: {}, data: { onNodeLoss: "wait" } });
    const { plan, operation } = await drain({ dryRun: true, vmModes: [{ vm: "data", mode: "restart" }] });
    expect(operation).toBeUndefined();
    expect(plan).toMatchObject([
      { vm: "a", action: "move", to: expect.any(Number) },
      { vm: "data", action: "move", to: expect.any(Number) },
    ]);
    expect(plan.map(({ to }) => to)).not.toContain(2);
    expect(cordonedAt(1, 2)).toBe(false);
    expect(group.node(1).state.operations.size).toBe(0);
  });

  it("goes on under the next leader, and starts no VM twice", async () => {
    const leader = group.leaderId();
    const [drained = 0, asked = 0] = [1, 2, 3].filter((id) => id !== leader);
    const names = ["a", "b", "c", "d"];
    await runOn(drained, { a: {}, b: {}, c: {}, d: {} });
    let twice = false;
    let running = [1, 2, 3];
    const look = () => {
      twice ||= names.some((name) => runsTwice(name, running));
      return names.map((name) => vmAt(asked, name));
    };
    const { operation } = await group.call(asked, "node.drain", { id: drained, parallel: 1 });
    await until(() => look().some((vm) => vm?.home !== undefined));
    await group.machine(leader).stop();
    // What it runs ends with its lease.
    running = [drained, asked];
    expect(look().some((vm) => vm?.home === undefined)).toBe(true);
    // What had moved to the leader by then runs again elsewhere when its lease is over.
    await until(() => look().length > 0 && operationAt(asked, operation?.id ?? "")?.state !== "running");
    expect(operationAt(asked, operation?.id ?? "")).toMatchObject({ state: "done" });
    for (const vm of look()) {
      expect(vm).toMatchObject({ phase: "Running", home: { node: drained } });
      expect(vm?.node).not.toBe(drained);
    }
    expect(twice).toBe(false);
  });

  it("leaves running what fits nowhere, says why, and fails when its time is over", async () => {
    await runOn(2, { big: { memoryMiB: 900 } });
    for (const id of [1, 3]) await group.call(1, "node.cordon", { id, cordoned: true });
    const { operation } = await drain({ deadlineMs: 1_000 });
    await until(() => (operationAt(1, operation?.id ?? "")?.waiting.length ?? 0) > 0);
    expect(operationAt(1, operation?.id ?? "")?.waiting).toMatchObject([
      { vm: "big", why: expect.stringContaining("node 1: it is cordoned") },
    ]);
    expect(await ended(operation)).toMatchObject({ state: "failed", error: { code: "DEADLINE_EXCEEDED" } });
    expect(vmAt(1, "big")).toMatchObject({ node: 2, phase: "Running", fencingEpoch: 1 });
  });

  it("refuses what it cannot do before it does anything", async () => {
    await runOn(2, { a: {} });
    await expect(drain({ vmModes: [{ vm: "nobody", mode: "stop" }] })).rejects.toMatchObject({ code: "VM_NOT_FOUND" });
    await expect(drain({ id: 9 })).rejects.toMatchObject({ code: "NODE_NOT_FOUND" });
    expect(cordonedAt(1, 2)).toBe(false);
  });

  it("is taken back by its cancellation: what has not moved runs on, and a person is told who did it", async () => {
    await runOn(2, { big: { memoryMiB: 800 } });
    for (const id of [1, 3]) await group.call(1, "node.cordon", { id, cordoned: true });
    const { operation } = await drain();
    const id = operation?.id ?? "";
    const cancelled = await group.call(3, "operation.cancel", { id });
    expect(cancelled.operation).toMatchObject({ state: "cancelled", message: "cancelled by token admin" });
    await expect(group.call(1, "operation.cancel", { id })).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(group.call(1, "operation.get", { id: "0".repeat(12) })).rejects.toMatchObject({
      code: "OPERATION_NOT_FOUND",
    });
    expect((await group.call(2, "operation.list", {})).items.map((item) => item.id)).toEqual([id]);
    expect(vmAt(1, "big")).toMatchObject({ node: 2, desired: "running" });
  });
});

describe("node.resume", () => {
  it("leaves a VM where it is for which there is no room at home any more, and says so", async () => {
    await runOn(2, { big: { memoryMiB: 600 } });
    await ended((await drain()).operation);
    await group.call(1, "node.cordon", { id: 2, cordoned: false });
    for (const id of [1, 3]) await group.call(1, "node.cordon", { id, cordoned: true });
    await group.call(1, "vm.create", { name: "other", spec: { ...spec, memoryMiB: 600 } });
    const { operation } = await resume();
    expect(await ended(operation)).toMatchObject({
      state: "done",
      waiting: [{ vm: "big", why: expect.stringContaining("memory needs") }],
    });
    expect(vmAt(1, "big")).toMatchObject({ phase: "Running", home: { node: 2 } });
  });
});

describe("node.evacuate", () => {
  const evacuate = (request: Partial<RequestOf<"node.evacuate">> = {}) =>
    group.call(1, "node.evacuate", { id: 2, ...request });

  it("is refused for a node that answers", async () => {
    await expect(evacuate()).rejects.toMatchObject({
      code: "CONFLICT",
      hint: expect.stringContaining("blixard nodes drain 2"),
    });
  });

  it("moves what has ended there and left no data, once the lease is over, and says why the others wait", async () => {
    await runOn(2, { moves: {}, ends: { onNodeLoss: "wait", onPartition: "stop" }, keeps: { onNodeLoss: "wait" } });
    await group.machine(2).stop();
    await until(() => ["moves", "ends", "keeps"].every((name) => vmAt(1, name)?.phase === "Unknown"));
    const { operation, plan } = await evacuate();
    expect(plan.map(({ vm, action }) => [vm, action])).toEqual([
      ["ends", "move"],
      ["keeps", "stay"],
      ["moves", "move"],
    ]);
    const heldUntil = group.machine(2).vmManager.leaseUntilMs;
    expect(await ended(operation)).toMatchObject({
      state: "done",
      message: "2 VMs off node 2, 0 left, 1 waits for it",
      waiting: [{ vm: "keeps", why: expect.stringContaining("onPartition keep") }],
    });
    expect(group.machine(2).vmManager.leases.nowMs()).toBeGreaterThanOrEqual(heldUntil + times.leaseGraceMs);
    expect([vmAt(1, "moves")?.node, vmAt(1, "ends")?.node]).not.toContain(2);
    expect(vmAt(1, "keeps")).toMatchObject({ node: 2, fencingEpoch: 1 });
  });

  it("does not move what waits for its node before somebody asks for it", async () => {
    await runOn(2, { moves: {}, ends: { onNodeLoss: "wait", onPartition: "stop" } });
    await group.machine(2).stop();
    await until(() => vmAt(1, "moves")?.node !== 2);
    expect(vmAt(1, "ends")).toMatchObject({ node: 2, fencingEpoch: 1 });
  });

  it("ends when the node is back", async () => {
    await runOn(2, { web: {} });
    for (const id of [1, 3]) await group.call(1, "node.cordon", { id, cordoned: true });
    await group.machine(2).stop();
    await until(() => vmAt(1, "web")?.phase === "Unknown");
    const { operation } = await evacuate();
    await group.restart(2);
    expect(await ended(operation)).toMatchObject({
      state: "cancelled",
      message: expect.stringContaining("answers again"),
    });
  });
});

describe("a forced wish about a VM of a lost node, as an operation", () => {
  it("is done when the VM has ended for sure", async () => {
    await runOn(2, { web: {}, gone: {}, keeps: { onNodeLoss: "wait" } });
    await group.machine(2).stop();
    await until(() => ["web", "gone", "keeps"].every((name) => vmAt(1, name)?.phase === "Unknown"));
    const stop = await group.call(1, "vm.desire", { name: "web", desired: "stopped", force: true });
    const deletion = await group.call(1, "vm.desire", { name: "gone", desired: "deleted", force: true });
    const kept = await group.call(1, "vm.desire", { name: "keeps", desired: "deleted", force: true });
    for (const { operation } of [stop, deletion, kept]) {
      expect(operationAt(1, operation ?? "")).toMatchObject({
        state: "running",
        actor: { kind: "token", id: "admin" },
      });
    }
    await expect(group.call(1, "operation.cancel", { id: stop.operation ?? "" })).rejects.toMatchObject({
      code: "CONFLICT",
      hint: expect.stringContaining("blixard vm start web"),
    });
    await until(() => operationAt(1, stop.operation ?? "")?.state === "done");
    await until(() => operationAt(1, deletion.operation ?? "")?.state === "done");
    expect(operationAt(1, kept.operation ?? "")).toMatchObject({
      state: "running",
      message: "what runs of it ends when node 2 is back",
    });
    await group.restart(2);
    await until(() => operationAt(1, kept.operation ?? "")?.state === "done");
  });
});
