import { type CommandBodyOf, limits, type OperationRecord, type VmSpec } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { sampleNode, sampleObservation, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";
import { nodeKey } from "./state.ts";

let replica: Replica;
const idOf = (number: number) => number.toString(16).padStart(12, "0");
const one = idOf(1);

beforeEach(() => {
  replica = Replica.initialised();
  for (const id of [2, 3]) {
    replica.apply({ type: "node.admit", node: sampleNode(id, { featureLevel: 3 }), ticketId: null });
  }
  replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
  replica.apply({ type: "cluster.setLevel", level: 3 });
});

const start = (kind: "node-drain" | "node-resume" | "node-evacuate", id = one, nodeId = 2) =>
  replica.apply({ type: "operation.start", operation: { id, kind, nodeId, vms: ["web"] } });
const end = (fields: Partial<CommandBodyOf<"operation.end">> = {}) =>
  replica.apply({ type: "operation.end", id: one, state: "done", message: "", ...fields });
const operation = (id = one) => replica.state.operations.get(id);
const web = () => replica.state.vms.get("web");

function createVm(spec: Partial<VmSpec> = {}): void {
  const vm = {
    name: "web",
    vmId: sampleVmId(1),
    spec: sampleSpec(spec),
    desired: "running",
    node: 2,
    placement: "",
  } as const;
  replica.apply({ type: "vm.create", ...vm });
  observe("Running");
}

function observe(phase: "Running" | "Stopped", fencingEpoch = web()?.fencingEpoch ?? 0): void {
  const observations = [sampleObservation(sampleVmId(1), { phase, fencingEpoch })];
  replica.apply({ type: "vm.observe", nodeId: web()?.node ?? 0, observations });
}

const hold = (fields: Partial<CommandBodyOf<"vm.hold">> = {}) =>
  replica.apply({
    ...{ type: "vm.hold", name: "web", vmId: sampleVmId(1), fencingEpoch: 1, operation: one, next: "move" },
    ...fields,
  });
const release = (fields: Partial<CommandBodyOf<"vm.release">> = {}) =>
  replica.apply({
    ...{ type: "vm.release", name: "web", vmId: sampleVmId(1), from: 2, fencingEpoch: 2, to: 3, reason: "it fits" },
    ...fields,
  });

describe("an operation on a node", () => {
  it("is recorded with who asked for it, and cordons a node that is drained in the same entry", () => {
    expect(start("node-drain")).toMatchObject({ ok: true, value: { operation: { id: one, state: "running" } } });
    expect(operation()).toMatchObject({
      ...{ kind: "node-drain", subject: "node 2", state: "running", percent: 0, startedUnixMs: 100 },
      ...{ actor: { kind: "token", id: "admin" }, startedIndex: replica.index, updatedIndex: replica.index },
    });
    expect(replica.state.nodes.get(nodeKey(2))).toMatchObject({ cordoned: true });
  });

  it("is the only one of that node, unless the node is resumed, which ends a drain", () => {
    start("node-drain");
    expect(start("node-evacuate", idOf(2))).toMatchObject({
      ...{ ok: false, code: "CONFLICT", hint: expect.stringContaining(`blixard operations wait ${one}`) },
    });
    expect(start("node-drain", idOf(3), 3)).toMatchObject({ ok: true });
    expect(start("node-resume", idOf(4))).toMatchObject({ ok: true });
    expect(operation()).toMatchObject({ state: "cancelled", message: "node 2 is resumed" });
    expect(replica.state.nodes.get(nodeKey(2))).toMatchObject({ cordoned: false });
    expect(start("node-resume", idOf(5))).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(start("node-drain", idOf(6), 9)).toMatchObject({ ok: false, code: "NODE_NOT_FOUND" });
  });

  it("tells how far it is while it runs, and keeps how it has ended", () => {
    start("node-drain");
    const waiting = [{ vm: "web", why: "no room" }];
    const progress = { type: "operation.progress", id: one, percent: 40, message: "2 of 5", waiting } as const;
    expect(replica.apply(progress)).toMatchObject({ ok: true });
    expect(operation()).toMatchObject({ percent: 40, message: "2 of 5", waiting });
    const error = { code: "DEADLINE_EXCEEDED", message: "its time is over" };
    expect(end({ state: "failed", message: "late", error })).toMatchObject({ ok: true });
    expect(operation()).toMatchObject({ state: "failed", percent: 40, message: "late", waiting, error });
    expect(end({ state: "cancelled" })).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(replica.apply(progress)).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(end({ id: idOf(9) })).toMatchObject({ ok: false, code: "OPERATION_NOT_FOUND" });
  });

  it("is forgotten when more than the limit have ended after it", () => {
    start("node-drain", idOf(5_000), 3);
    for (let number = 1; number <= limits.operationsEndedMax + 5; number++) {
      start("node-evacuate", idOf(number));
      end({ id: idOf(number) });
    }
    const kept = [...replica.state.operations.values()].filter(({ state }) => state !== "running");
    expect(kept).toHaveLength(limits.operationsEndedMax);
    expect(operation(idOf(5))).toBeUndefined();
    expect(operation(idOf(6))).toBeDefined();
    expect(operation(idOf(5_000))).toMatchObject({ state: "running" });
  });
});

describe("a VM that is held", () => {
  beforeEach(() => {
    createVm();
    start("node-drain");
  });

  it("is stopped in a new epoch, and goes on only when its node has said in that epoch that it has stopped", () => {
    expect(hold()).toMatchObject({ ok: true });
    expect(web()).toMatchObject({
      ...{ desired: "stopped", phase: "Stopping", fencingEpoch: 2, node: 2 },
      ...{ held: { operation: one, desired: "running", next: "move" }, home: { node: 2, operation: one } },
    });
    expect(release()).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    // Said before the node knew of the hold: it may have started the VM again since.
    observe("Stopped", 1);
    expect(release()).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    observe("Stopped", 2);
    expect(release()).toMatchObject({ ok: true });
    expect(web()).toMatchObject({
      node: 3,
      desired: "running",
      phase: "Pending",
      fencingEpoch: 3,
      placement: "it fits",
    });
    expect(web()).not.toHaveProperty("held");
    expect(web()?.home).toEqual({ node: 2, operation: one });
    expect(release()).toMatchObject({ ok: false, code: "STALE_EPOCH" });
  });

  it("goes to no node on which its port leads to another VM by now, and may go on where it is", () => {
    replica.apply({ type: "vm.purge", name: "web" });
    const forwards = [{ port: 8080, to: 80 }];
    createVm({ forwards });
    const spec = sampleSpec({ forwards: [{ port: 8080, to: 81, listen: "all" }] });
    const other = { type: "vm.create", name: "db", vmId: sampleVmId(2), spec, node: 3, placement: "" } as const;
    expect(replica.apply({ ...other, desired: "running" })).toMatchObject({ ok: true });
    hold();
    observe("Stopped", 2);
    const before = web();
    const taken = { ok: false, code: "CONFLICT", message: expect.stringContaining("leads to the VM db") };
    expect(release()).toMatchObject(taken);
    expect(web()).toEqual(before);
    expect(release({ to: 2 })).toMatchObject({ ok: true });
  });

  it("is not held in another epoch than the leader saw, twice, or for an operation that does not run", () => {
    expect(hold({ fencingEpoch: 2 })).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(hold({ vmId: sampleVmId(2) })).toMatchObject({ ok: false, code: "VM_NOT_FOUND" });
    expect(hold({ operation: idOf(7) })).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(hold()).toMatchObject({ ok: true });
    expect(hold({ fencingEpoch: 2 })).toMatchObject({ ok: false, code: "CONFLICT" });
    end({ state: "cancelled" });
    expect(hold({ fencingEpoch: 3 })).toMatchObject({ ok: false, code: "CONFLICT" });
  });

  it("starts again where it is when the operation ends before it has moved; one that was to stop stays stopped", () => {
    hold();
    end({ state: "cancelled" });
    expect(web()).toMatchObject({ node: 2, desired: "running", phase: "Pending", fencingEpoch: 3 });
    expect(web()).not.toHaveProperty("held");
    expect(web()).not.toHaveProperty("home");
    start("node-drain", idOf(2));
    hold({ fencingEpoch: 3, operation: idOf(2), next: "stay" });
    end({ id: idOf(2) });
    expect(web()).toMatchObject({ desired: "stopped", held: { next: "stay" }, home: { node: 2 } });
  });

  it("is what a person says of it", () => {
    hold();
    replica.apply({ type: "vm.desire", name: "web", desired: "running", newEpoch: true });
    expect(web()).toMatchObject({ desired: "running", node: 2, fencingEpoch: 3 });
    expect(web()).not.toHaveProperty("held");
    expect(web()).not.toHaveProperty("home");
    hold({ fencingEpoch: 3 });
    observe("Stopped", 4);
    release({ fencingEpoch: 4 });
    replica.apply({ type: "vm.desire", name: "web", desired: "running", newEpoch: true });
    // It runs away from home, and comes back with the others.
    expect(web()).toMatchObject({ node: 3, home: { node: 2 } });
    replica.apply({ type: "vm.desire", name: "web", desired: "stopped", newEpoch: false });
    expect(web()).not.toHaveProperty("home");
  });
});

describe("a forced wish about a VM", () => {
  const force = (body: { readonly type: "vm.purge" } | { readonly type: "vm.desire" }) =>
    replica.apply(
      body.type === "vm.purge"
        ? { ...body, name: "web", operation: one }
        : { ...body, name: "web", desired: "stopped", newEpoch: false, operation: one },
    );

  it("is an operation in the same entry", () => {
    createVm();
    expect(force({ type: "vm.desire" })).toMatchObject({
      ok: true,
      value: { operation: one, vm: { desired: "stopped" } },
    });
    const expected: Partial<OperationRecord> = { kind: "vm-stop", nodeId: 2, vmId: sampleVmId(1), vms: ["web"] };
    expect(operation()).toMatchObject({ ...expected, subject: "VM web", state: "running" });
  });

  it("always forgets a record that is deleted, however many operations run", () => {
    for (
      let number = 2;
      replica.state.operations.size < limits.operationsRunningMax + limits.operationsEndedMax;
      number++
    ) {
      createVm();
      replica.apply({ type: "vm.purge", name: "web", operation: idOf(number) });
    }
    createVm();
    expect(force({ type: "vm.purge" })).toMatchObject({ ok: true, value: { vm: { phase: "Deleted" } } });
    expect(web()).toBeUndefined();
    expect(operation()).toBeUndefined();
    expect(start("node-drain")).toMatchObject({ ok: false, code: "CONFLICT" });
  });
});
