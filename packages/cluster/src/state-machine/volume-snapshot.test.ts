import type { VolumeObservation } from "@blixard/protocol";
import { limits } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { desiredVolumes, unreportedVolumes } from "../duties/volume-duty.ts";
import { usageByNode } from "../scheduler/usage.ts";
import { initBody, sampleNode, sampleObservation, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";

const volumeId = sampleVmId(7);
const vmId = sampleVmId(1);
let replica: Replica;

const db = () => replica.state.volumes.get("db");
const snapshotId = (number: number) => sampleVmId(100 + number);
const create = (snapshot: string, number = 1) =>
  replica.apply({ type: "volume.snapshot", name: "db", snapshot, verb: "create", snapshotId: snapshotId(number) });
const change = (verb: "restore" | "delete", snapshot: string) =>
  replica.apply({ type: "volume.snapshot", name: "db", snapshot, verb });
const seen = (more: Partial<VolumeObservation> = {}) =>
  ({ volumeId, epoch: db()?.epoch ?? 0, state: "ready", sizeGiB: 8, ...more }) as const;
const observe = (more: Partial<VolumeObservation> = {}) =>
  replica.apply({ type: "volume.observe", nodeId: 2, observations: [seen(more)] });
const observeVm = (phase: "Running" | "Stopped") =>
  replica.apply({ type: "vm.observe", nodeId: 2, observations: [sampleObservation(vmId, { phase })] });
const desire = (desired: "running" | "stopped") =>
  replica.apply({ type: "vm.desire", name: "web", desired, newEpoch: false });

beforeEach(() => {
  replica = new Replica();
  replica.apply(initBody);
  replica.apply({ type: "node.admit", node: sampleNode(2, { featureLevel: 3 }), ticketId: null });
  replica.apply({ type: "volume.create", name: "db", volumeId, sizeGiB: 8, kind: "local", node: 2 });
  observe();
});

describe("a snapshot of a volume", () => {
  it("is made by the node of the volume, and takes room as the volume does", () => {
    const usedMiB = () => usageByNode(replica.state, [], { overheadMemoryMiB: 0 }).get(2)?.diskMiB;
    expect(create("before")).toMatchObject({ ok: true });
    expect(db()).toMatchObject({ state: "pending", epoch: 1, snapshots: [{ name: "before", state: "pending" }] });
    expect(usedMiB()).toBe(2 * 8 * 1024);
    const wanted = { snapshotId: snapshotId(1), sizeGiB: 8, wasMade: false, isDeleted: false };
    expect(desiredVolumes(replica.state, 2)).toMatchObject([{ epoch: 1, snapshots: [wanted] }]);
    // What the node said of it before it knew.
    observe({ epoch: 0 });
    expect(db()).toMatchObject({ state: "pending" });
    expect(unreportedVolumes(replica.state, new Map([[volumeId, seen()]]), 2)).toHaveLength(1);
    observe();
    expect(db()).toMatchObject({ state: "ready", snapshots: [{ name: "before", state: "ready", sizeGiB: 8 }] });
    expect(unreportedVolumes(replica.state, new Map([[volumeId, seen()]]), 2)).toEqual([]);
    expect(create("before", 2)).toMatchObject({ ok: false, code: "ALREADY_EXISTS" });
    expect(change("delete", "before")).toMatchObject({ ok: true });
    expect(desiredVolumes(replica.state, 2)).toMatchObject([{ snapshots: [{ isDeleted: true }] }]);
    observe();
    expect(db()).not.toHaveProperty("snapshots");
    expect(usedMiB()).toBe(8 * 1024);
  });

  it("gives the volume what it kept, once its node has done that", () => {
    expect(change("restore", "none")).toMatchObject({ ok: false, code: "NOT_FOUND" });
    create("before");
    expect(change("restore", "before")).toMatchObject({ ok: false, message: expect.stringContaining("worked on") });
    observe();
    change("restore", "before");
    expect(db()).toMatchObject({ state: "pending", restoring: snapshotId(1), epoch: 2 });
    expect(desiredVolumes(replica.state, 2)).toMatchObject([{ restoring: snapshotId(1) }]);
    observe({ epoch: 1 });
    expect(db()).toMatchObject({ restoring: snapshotId(1) });
    observe();
    expect(db()).toMatchObject({ state: "ready", snapshots: [{ name: "before" }] });
    expect(db()).not.toHaveProperty("restoring");
  });

  it("is no snapshot when its node could not make it, and the record says why until the next one", () => {
    create("before");
    observe({ problem: "no space left" });
    expect(db()).toMatchObject({ state: "ready", problem: "no space left" });
    expect(db()).not.toHaveProperty("snapshots");
    create("again", 2);
    expect(db()).not.toHaveProperty("problem");
    observe();
    change("restore", "again");
    observe({ problem: "gone" });
    expect(db()).toMatchObject({ state: "ready", problem: "gone", snapshots: [{ name: "again" }] });
    expect(db()).not.toHaveProperty("restoring");
  });

  it("is one of a bounded number", () => {
    for (let number = 0; number < limits.volumeSnapshotsMax; number++) {
      expect(create(`s${number}`, number)).toMatchObject({ ok: true });
      observe();
    }
    expect(create("more", 99)).toMatchObject({ ok: false, code: "CONFLICT" });
  });
});

describe("a VM with a volume", () => {
  beforeEach(() => {
    const spec = sampleSpec({ disks: [{ name: "data", volume: "db" }] });
    replica.apply({ type: "vm.create", name: "web", vmId, spec, node: 2, desired: "running", placement: "" });
    observeVm("Running");
    observe();
  });

  it("runs on while a snapshot of it is made, which says what it shows", () => {
    expect(create("before")).toMatchObject({ ok: true });
    expect(desire("running")).toMatchObject({ ok: true });
    expect(replica.apply({ type: "vm.desire", name: "web", desired: "paused", newEpoch: false })).toMatchObject({
      ok: true,
    });
    observe({ shows: "frozen" });
    expect(db()).toMatchObject({ state: "ready", snapshots: [{ name: "before", state: "ready", shows: "frozen" }] });
    expect(create("again", 2)).toMatchObject({ ok: true });
    observe({ shows: "running" });
    expect(db()?.snapshots).toMatchObject([{ shows: "frozen" }, { shows: "running" }]);
  });

  it("is stopped before one is restored, and does not start before that is done", () => {
    desire("stopped");
    observeVm("Stopped");
    expect(create("before")).toMatchObject({ ok: true });
    expect(desire("running")).toMatchObject({ ok: false, message: expect.stringContaining("is being made") });
    observe();
    expect(desire("running")).toMatchObject({ ok: true });
    expect(change("restore", "before")).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(change("delete", "before")).toMatchObject({ ok: true });
    observe();
    desire("stopped");
    observeVm("Stopped");
    create("before", 2);
    observe();
    change("restore", "before");
    expect(desire("running")).toMatchObject({ ok: false, message: expect.stringContaining("is being restored") });
    expect(desire("stopped")).toMatchObject({ ok: true });
    observe();
    expect(desire("running")).toMatchObject({ ok: true });
  });

  it("is made with none that is being restored", () => {
    desire("stopped");
    observeVm("Stopped");
    create("before");
    observe();
    replica.apply({ type: "vm.purge", name: "web" });
    change("restore", "before");
    const spec = sampleSpec({ disks: [{ name: "data", volume: "db" }] });
    const again = { type: "vm.create", name: "b", vmId: sampleVmId(2), spec, node: 2, desired: "running" } as const;
    expect(replica.apply({ ...again, placement: "" })).toMatchObject({ ok: false, code: "CONFLICT" });
    observe();
    expect(replica.apply({ ...again, placement: "" })).toMatchObject({ ok: true });
  });
});
