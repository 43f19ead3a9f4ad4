import type { DiskCopyObservation, OperationRecord, VmRecord, VmSpec } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { droppedCopies, keptCopies, readableCopy, wantedCopies } from "../duties/disk-copy-plan.ts";
import { desiredVolumes, unreportedVolumes } from "../duties/volume-duty.ts";
import { usageByNode } from "../scheduler/usage.ts";
import { sampleNode, sampleObservation, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { desiredOf } from "../testing/desired-of.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";
import { Replica } from "../testing/replica.ts";
import { planMigration } from "./migrate-plan.ts";
import type { PlanView } from "./plan-types.ts";

const id = "00000000000a";
const vmId = sampleVmId(1);
let replica: Replica;
let silent: ReadonlySet<number>;

beforeEach(() => {
  replica = Replica.initialised();
  silent = new Set();
  for (const node of [2, 3]) {
    replica.apply({ type: "node.admit", node: sampleNode(node, { featureLevel: 3 }), ticketId: null });
  }
  replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
  replica.apply({ type: "cluster.setLevel", level: 3 });
});

const vm = (): VmRecord => replica.state.vms.get("db") as VmRecord;
const operation = (): OperationRecord => replica.state.operations.get(id) as OperationRecord;
const start = (to = 3) =>
  replica.apply({
    type: "operation.start",
    operation: { id, kind: "vm-migrate", nodeId: 2, vms: ["db"], vmId, to, deadlineUnixMs: 1_000 },
  });

/** On node 2, with a disk that it keeps and one that it does not. */
function createVm(
  disks: NonNullable<VmSpec["disks"]> = [
    { name: "data", sizeGiB: 1 },
    { name: "tmp", sizeGiB: 1, ephemeral: true } as const,
  ],
): void {
  const spec = sampleSpec({ disks });
  replica.apply({ type: "vm.create", name: "db", vmId, spec, desired: "running", node: 2, placement: "" });
  observe("Running", { disks: disks.map(({ name }) => name) });
}

function observe(phase: VmRecord["phase"], more: { readonly disks?: string[]; readonly fencingEpoch?: number } = {}) {
  const observations = [sampleObservation(vmId, { phase, fencingEpoch: vm().fencingEpoch, ...more })];
  replica.apply({ type: "vm.observe", nodeId: vm().node ?? 0, observations });
}

function copied(fields: Partial<DiskCopyObservation> = {}, nodeId = 3): unknown {
  const told = { doneBytes: 5, wholeBytes: 10, bytesPerSecond: 1, message: "", names: ["data"] };
  const copies = [{ vmId, epoch: vm().held?.epoch ?? 0, state: "copied" as const, ...told, ...fields }];
  const result = replica.apply({ type: "vm.observeCopy", nodeId, copies });
  return result.ok ? (result.value as { readonly accepted: number }).accepted : result.code;
}

function plan(nowUnixMs = 0) {
  const view: PlanView = {
    state: replica.state,
    nowUnixMs,
    isReachable: (node) => !silent.has(node),
    isLeaseOver: () => false,
    hasLog: () => true,
    place: () => ({ ok: true, nodeId: 3, reasons: "it fits", nodes: [] }) as never,
  };
  return planMigration(view, { ...operation(), nodeId: 2 });
}

/** Carries out what is planned. */
function step(): void {
  for (const body of plan().steps) expect(replica.apply(body)).toMatchObject({ ok: true });
}

const readable = (reader: number, nodeId = 2) =>
  readableCopy(replica.state, nodeId, { vmId, epoch: vm().held?.epoch ?? 0, reader: endpointIdOf(reader) })?.name;

describe("a VM that goes to another node with its disks", () => {
  it("ends, is copied to the node that is named, and starts there when all of it has come", () => {
    createVm();
    expect(start()).toMatchObject({ ok: true });
    expect(vm()).toMatchObject({
      node: 2,
      desired: "stopped",
      fencingEpoch: 2,
      held: { to: 3, epoch: 2, next: "move" },
    });
    expect(plan()).toMatchObject({ steps: [], percent: 0, message: "it ends on node 2" });
    expect(wantedCopies(replica.state, 3)).toEqual([]);
    // Said before its node knew of the hold.
    observe("Stopped", { fencingEpoch: 1 });
    expect(readable(3)).toBeUndefined();
    observe("Stopped");
    expect(plan()).toMatchObject({ steps: [], percent: 5, message: "it has ended" });
    expect(wantedCopies(replica.state, 3)).toEqual([{ vmId, epoch: 2, source: 2, names: ["data"], volumeFiles: [] }]);
    expect(copied({ state: "copying" })).toBe(1);
    expect(plan()).toMatchObject({
      steps: [],
      percent: 50,
      message: expect.stringContaining("its disks go to node 3"),
    });
    expect(copied()).toBe(1);
    step();
    expect(vm()).toMatchObject({
      ...{ node: 3, desired: "running", phase: "Pending", fencingEpoch: 3, disks: { node: 3, names: ["data"] } },
      moved: { node: 3, epoch: 2, names: ["data"], leftOn: [2] },
    });
    expect(vm()).not.toHaveProperty("held");
    expect(plan()).toMatchObject({ steps: [], message: "it starts on node 3" });
    expect(desiredOf(replica.state, 3)).toMatchObject([{ copyEpoch: 2, madeDisks: ["data"] }]);
    observe("Running", { disks: ["data", "tmp"] });
    expect(plan()).toMatchObject({ end: { state: "done" } });
  });

  it("is given to no node that has not all of it, whatever others say", () => {
    createVm();
    start();
    observe("Stopped");
    const release = { type: "vm.release", name: "db", vmId, from: 2, fencingEpoch: 2, to: 3, reason: "" } as const;
    expect(replica.apply(release)).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(copied({}, 1)).toBe(0);
    expect(copied({ epoch: 1 })).toBe(0);
    expect(copied({ state: "copying" })).toBe(1);
    expect(replica.apply(release)).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(copied()).toBe(1);
    expect(replica.apply({ ...release, to: 1 })).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(replica.apply(release)).toMatchObject({ ok: true });
  });

  it("may be read by the node that takes it, while it stands still for that, and by nobody else", () => {
    createVm();
    start();
    expect(readable(3)).toBeUndefined();
    observe("Stopped");
    expect([1, 2, 3].map((node) => readable(node))).toEqual([undefined, undefined, "db"]);
    expect(readable(3, 1)).toBeUndefined();
    replica.apply({ type: "operation.end", id, state: "cancelled", message: "" });
    expect(readable(3)).toBeUndefined();
  });

  it("starts where it was when that is cancelled, and stays stopped when it was that", () => {
    createVm();
    start();
    observe("Stopped");
    copied();
    expect(keptCopies(replica.state, 3)).toEqual([{ vmId, epoch: 2 }]);
    replica.apply({ type: "operation.end", id, state: "cancelled", message: "" });
    expect(vm()).toMatchObject({ node: 2, desired: "running", phase: "Pending", fencingEpoch: 3 });
    expect(vm()).not.toHaveProperty("held");
    expect(keptCopies(replica.state, 3)).toEqual([]);
    replica.apply({ type: "vm.desire", name: "db", desired: "stopped", newEpoch: false });
    observe("Stopped");
    replica.apply({
      type: "operation.start",
      operation: { id: "00000000000b", kind: "vm-migrate", nodeId: 2, vms: ["db"], vmId, to: 3 },
    });
    replica.apply({ type: "operation.end", id: "00000000000b", state: "cancelled", message: "" });
    expect(vm()).toMatchObject({ node: 2, desired: "stopped", phase: "Stopped" });
  });

  it("fails with what the other node says, and when its time is over", () => {
    createVm();
    start();
    observe("Stopped");
    copied({ state: "failed", code: "NO_CAPACITY", message: "2 bytes are free" });
    expect(plan()).toMatchObject({
      end: { state: "failed", error: { code: "NO_CAPACITY", message: "db: 2 bytes are free" } },
    });
    // It is not tried again.
    expect(copied()).toBe(0);
    expect(wantedCopies(replica.state, 3)).toEqual([]);
    replica.apply({ type: "operation.end", id, state: "failed", message: "" });
    start();
  });

  it("waits for a node that does not answer, until its time is over", () => {
    createVm();
    start();
    observe("Stopped");
    silent = new Set([2]);
    expect(plan()).toMatchObject({ waiting: [{ vm: "db", why: "node 2 does not answer, and its disks are there" }] });
    expect(plan()).not.toHaveProperty("end");
    expect(plan(1_000)).toMatchObject({ end: { state: "failed", error: { code: "DEADLINE_EXCEEDED" } } });
    // All of it is on the other node: the first one is not needed any more.
    copied();
    step();
    expect(vm()).toMatchObject({ node: 3, phase: "Pending" });
  });

  it("is taken back by whoever says what is to become of it", () => {
    createVm();
    start();
    observe("Stopped");
    replica.apply({ type: "vm.desire", name: "db", desired: "running", newEpoch: true });
    expect(copied({ epoch: 2 })).toBe(0);
    expect(plan()).toMatchObject({ end: { state: "cancelled" }, message: expect.stringContaining("node 2 again") });
    replica.apply({ type: "vm.desire", name: "db", desired: "stopped", newEpoch: false });
    expect(plan()).toMatchObject({
      end: { state: "cancelled" },
      message: expect.stringContaining("has stopped the VM"),
    });
    // Its record is there until its node has let it go.
    replica.apply({ type: "vm.desire", name: "db", desired: "deleted", newEpoch: true });
    expect(vm()).toMatchObject({ node: 2 });
    expect(plan()).toMatchObject({ end: { state: "cancelled" }, message: "the VM was deleted" });
    replica.apply({ type: "vm.purge", name: "db" });
    expect(plan()).toMatchObject({ end: { state: "cancelled" }, message: "the VM was deleted" });
  });

  it("leaves its older copy until it runs, and that is forgotten when it is gone", () => {
    createVm();
    start();
    observe("Stopped");
    copied();
    step();
    const old = () => desiredOf(replica.state, 2).map(({ desired }) => desired);
    expect(old()).toEqual([]);
    observe("Running");
    expect(old()).toEqual(["deleted"]);
    const seen = (phase: VmRecord["phase"]) => new Map([[vmId, sampleObservation(vmId, { phase })]]);
    expect(droppedCopies(replica.state, 2, seen("Stopping"))).toEqual([]);
    const copies = droppedCopies(replica.state, 2, seen("Deleted"));
    expect(copies).toHaveLength(1);
    replica.apply({ type: "vm.observeCopy", nodeId: 2, copies });
    expect(vm().moved).toMatchObject({ leftOn: [] });
    expect(old()).toEqual([]);
  });

  it("ends when its node is removed, and no copy that is left counts as older then", () => {
    createVm();
    start();
    observe("Stopped");
    copied();
    step();
    observe("Running");
    replica.apply({ type: "node.remove", nodeId: 3 });
    expect(vm()).toMatchObject({ node: null });
    expect(vm()).not.toHaveProperty("moved");
    expect(plan()).toMatchObject({ end: { state: "cancelled" }, message: "the node of the VM was removed" });
  });

  it("takes nothing along when it keeps nothing", () => {
    createVm([{ name: "tmp", sizeGiB: 1, ephemeral: true }]);
    start();
    expect(vm().held).toEqual({ operation: id, desired: "running", next: "move" });
    observe("Stopped");
    step();
    expect(vm()).toMatchObject({ node: 3, phase: "Pending" });
    expect(vm()).not.toHaveProperty("moved");
  });

  describe("with a volume", () => {
    const volumeId = sampleVmId(9);
    const volume = () => replica.state.volumes.get("db-data");
    const observeVolume = (nodeId: number, state: "ready" | "deleted" | "missing", epoch = volume()?.epoch ?? 0) =>
      replica.apply({
        ...{ type: "volume.observe", nodeId },
        observations: [{ volumeId, epoch, state, sizeGiB: state === "ready" ? 2 : 0 }],
      });
    const attached = [
      { name: "data", sizeGiB: 1 },
      { name: "more", volume: "db-data" },
    ] as const;

    beforeEach(() => {
      const made = { type: "volume.create", name: "db-data", volumeId, sizeGiB: 2, kind: "local", node: 2 } as const;
      replica.apply(made);
      observeVolume(2, "ready");
      createVm([...attached]);
    });

    it("gives it to the other node in the same entry, and the old one lets its copy go after that", () => {
      expect(volume()).toMatchObject({ node: 2, epoch: 1 });
      start();
      observe("Stopped");
      expect(wantedCopies(replica.state, 3)).toMatchObject([{ source: 2, volumeFiles: [volumeId] }]);
      expect(replica.apply({ type: "volume.resize", name: "db-data", sizeGiB: 3 })).toMatchObject({ code: "CONFLICT" });
      expect(desiredVolumes(replica.state, 2)).toMatchObject([{ isDeleted: false }]);
      copied();
      expect(volume()).toMatchObject({ node: 2, epoch: 1 });
      step();
      expect(vm()).toMatchObject({ node: 3 });
      const came = { vmId, epoch: 2 };
      expect(volume()).toMatchObject({ node: 3, epoch: 2, state: "pending", attachedTo: "db", came, leftOn: [2] });
      expect(desiredVolumes(replica.state, 3)).toMatchObject([{ epoch: 2, wasMade: true, isDeleted: false, came }]);
      // Neither before it is in its place, nor by what was said of it before.
      expect(desiredVolumes(replica.state, 2)).toEqual([]);
      observeVolume(3, "ready", 1);
      observeVolume(2, "deleted");
      expect(volume()).toMatchObject({ came, leftOn: [2] });
      replica.apply({ type: "vm.purge", name: "db" });
      expect(keptCopies(replica.state, 3)).toEqual([came]);
      observeVolume(3, "ready");
      expect(volume()).not.toHaveProperty("came");
      expect(keptCopies(replica.state, 3)).toEqual([]);
      expect(desiredVolumes(replica.state, 2)).toMatchObject([{ volumeId, epoch: 2, isDeleted: true }]);
      const seen = new Map([[volumeId, { volumeId, epoch: 2, state: "deleted", sizeGiB: 0 } as const]]);
      expect(unreportedVolumes(replica.state, seen, 2)).toHaveLength(1);
      observeVolume(2, "deleted");
      expect(volume()).toMatchObject({ node: 3, state: "ready" });
      expect(volume()).not.toHaveProperty("leftOn");
    });

    it("keeps the older copy where the other one has got lost, and forgets no volume before all copies of it", () => {
      start();
      observe("Stopped");
      copied();
      step();
      observeVolume(3, "missing");
      expect(volume()).toMatchObject({ state: "missing" });
      expect(desiredVolumes(replica.state, 2)).toEqual([]);
      observeVolume(3, "ready");
      replica.apply({ type: "vm.purge", name: "db" });
      replica.apply({ type: "volume.delete", name: "db-data" });
      observeVolume(3, "deleted");
      expect(volume()).toMatchObject({ state: "deleting", leftOn: [2] });
      observeVolume(2, "deleted");
      observeVolume(3, "deleted");
      expect(volume()).toBeUndefined();
    });

    it("leaves it where it is when nothing comes of that", () => {
      start();
      observe("Stopped");
      copied();
      replica.apply({ type: "operation.end", id, state: "cancelled", message: "" });
      expect(volume()).toMatchObject({ node: 2, epoch: 1, state: "ready" });
      expect(volume()).not.toHaveProperty("came");
    });

    it("stays while a copy is made of it, and none is made while it goes", () => {
      observe("Stopped");
      const clone = { type: "volume.create", sizeGiB: 2, kind: "local", node: 2, source: "db-data" } as const;
      replica.apply({ ...clone, name: "clone", volumeId: sampleVmId(8) });
      expect(start()).toMatchObject({
        code: "CONFLICT",
        message: expect.stringContaining("clone is still being copied"),
      });
      replica.apply({ type: "volume.delete", name: "clone" });
      replica.apply({
        type: "volume.observe",
        nodeId: 2,
        observations: [{ volumeId: sampleVmId(8), epoch: 0, state: "deleted", sizeGiB: 0 }],
      });
      expect(start()).toMatchObject({ ok: true });
      observe("Stopped");
      expect(replica.apply({ ...clone, name: "late", volumeId: sampleVmId(7) })).toMatchObject({ code: "CONFLICT" });
    });

    it("counts where it is and where it is to be", () => {
      const usage = (node: number) => usageByNode(replica.state, [], { overheadMemoryMiB: 0 }).get(node)?.diskMiB;
      start();
      expect([usage(2), usage(3)]).toEqual([3_072, 3_072]);
      observe("Stopped");
      copied();
      step();
      expect([usage(2), usage(3)]).toEqual([undefined, 3_072]);
    });
  });

  it("is held by one operation at a time, and goes to no node that is not there", () => {
    createVm();
    expect(start(9)).toMatchObject({ ok: false, code: "NODE_NOT_FOUND" });
    expect(start()).toMatchObject({ ok: true });
    const again = { id: "00000000000b", kind: "vm-migrate" as const, nodeId: 2, vms: ["db"], vmId, to: 1 };
    expect(replica.apply({ type: "operation.start", operation: again })).toMatchObject({ ok: false, code: "CONFLICT" });
  });
});
