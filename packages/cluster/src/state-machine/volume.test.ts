import { type VmSpec, type VolumeObservation, vmSpecSchema } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { desiredVolumes, unreportedVolumes } from "../duties/volume-duty.ts";
import { initBody, sampleNode, sampleObservation, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";

let replica: Replica;
const volumeId = sampleVmId(7);

const createVolume = (name = "db", id = volumeId) =>
  replica.apply({ type: "volume.create", name, volumeId: id, sizeGiB: 8, kind: "local", node: 2 });
const observe = (state: VolumeObservation["state"], { sizeGiB = 8, nodeId = 2, id = volumeId } = {}) => {
  const epoch = [...replica.state.volumes.values()].find(({ volumeId: other }) => other === id)?.epoch ?? 0;
  return replica.apply({ type: "volume.observe", nodeId, observations: [{ volumeId: id, epoch, state, sizeGiB }] });
};
const spec = (...volumes: string[]): VmSpec =>
  sampleSpec({ disks: volumes.map((volume, at) => ({ name: `d${at}`, volume })) });
const createVm = (name: string, number: number, of = spec("db"), node = 2) =>
  replica.apply({
    ...{ type: "vm.create", name, vmId: sampleVmId(number), spec: of, node, desired: "running", placement: "" },
  });
const db = () => replica.state.volumes.get("db");

beforeEach(() => {
  replica = new Replica();
  replica.apply(initBody);
  replica.apply({ type: "node.admit", node: sampleNode(2, { featureLevel: 3 }), ticketId: null });
  createVolume();
});

describe("a volume", () => {
  it("is pending until its node has made it, and nobody else says how it is", () => {
    expect(db()).toMatchObject({ state: "pending", madeGiB: 0, node: 2, copies: 1, epoch: 0, attachedTo: null });
    expect(desiredVolumes(replica.state, 2)).toEqual([
      { volumeId, epoch: 0, sizeGiB: 8, wasMade: false, isDeleted: false },
    ]);
    expect(desiredVolumes(replica.state, 1)).toEqual([]);
    observe("ready", { nodeId: 1 });
    expect(db()).toMatchObject({ state: "pending" });
    const seen = new Map([[volumeId, { volumeId, epoch: 0, state: "ready", sizeGiB: 8 } as const]]);
    expect(unreportedVolumes(replica.state, seen, 1)).toEqual([]);
    expect(unreportedVolumes(replica.state, seen, 2)).toHaveLength(1);
    observe("ready");
    expect(db()).toMatchObject({ state: "ready", madeGiB: 8 });
    expect(unreportedVolumes(replica.state, seen, 2)).toEqual([]);
    expect(desiredVolumes(replica.state, 2)).toMatchObject([{ wasMade: true }]);
    observe("missing", { sizeGiB: 0 });
    expect(db()).toMatchObject({ state: "missing", madeGiB: 8 });
  });

  it("has a name and an id of its own", () => {
    expect(createVolume()).toMatchObject({ ok: false, code: "ALREADY_EXISTS" });
    expect(createVolume("other")).toMatchObject({ ok: false, code: "CONFLICT" });
    const away = { type: "volume.create", name: "x", volumeId: sampleVmId(8), sizeGiB: 1, kind: "local" } as const;
    expect(replica.apply({ ...away, node: 9 })).toMatchObject({ ok: false, code: "NODE_NOT_FOUND" });
  });

  it("keeps its size while it is imported", () => {
    const imported = { name: "disk", volumeId: sampleVmId(8), sizeGiB: 8, importDigest: "a".repeat(64) } as const;
    replica.apply({ type: "volume.create", ...imported, kind: "local", node: 2 });
    const resize = () => replica.apply({ type: "volume.resize", name: "disk", sizeGiB: 16 });
    expect(resize()).toMatchObject({ ok: false, code: "CONFLICT", message: expect.stringContaining("imported") });
    expect(replica.state.volumes.get("disk")).toMatchObject({ sizeGiB: 8 });
    observe("ready", { id: sampleVmId(8) });
    expect(resize()).toMatchObject({ ok: true });
  });

  it("becomes larger and no smaller", () => {
    observe("ready");
    expect(replica.apply({ type: "volume.resize", name: "db", sizeGiB: 7 })).toMatchObject({
      ok: false,
      code: "CONFLICT",
    });
    expect(replica.apply({ type: "volume.resize", name: "db", sizeGiB: 16 })).toMatchObject({ ok: true });
    expect(db()).toMatchObject({ state: "pending", sizeGiB: 16, madeGiB: 8 });
    observe("ready");
    expect(db()).toMatchObject({ state: "pending" });
    observe("ready", { sizeGiB: 16 });
    expect(db()).toMatchObject({ state: "ready", madeGiB: 16 });
    expect(replica.apply({ type: "volume.resize", name: "no", sizeGiB: 16 })).toMatchObject({
      code: "VOLUME_NOT_FOUND",
    });
  });

  it("is a copy of another one on its node, with which no VM runs", () => {
    const copy = (name: string, change: { sizeGiB?: number; node?: number; source?: string } = {}) =>
      replica.apply({
        ...{ type: "volume.create", name, volumeId: sampleVmId(9), sizeGiB: 8, kind: "local", node: 2, source: "db" },
        ...change,
      });
    expect(copy("copy")).toMatchObject({ ok: false, message: "the volume db is pending" });
    observe("ready");
    expect(copy("copy", { node: 1 })).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(copy("copy", { sizeGiB: 7 })).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(copy("copy", { source: "no" })).toMatchObject({ ok: false, code: "VOLUME_NOT_FOUND" });
    createVm("web", 1);
    expect(copy("copy")).toMatchObject({ ok: false, message: expect.stringContaining("the VM web runs with") });
    const stopped = sampleObservation(sampleVmId(1), { phase: "Stopped" });
    replica.apply({ type: "vm.observe", nodeId: 2, observations: [stopped] });
    expect(copy("copy", { sizeGiB: 9 })).toMatchObject({ ok: true });
    expect(desiredVolumes(replica.state, 2)).toMatchObject([{ volumeId: sampleVmId(9), sourceId: volumeId }, {}]);
    replica.apply({ type: "vm.purge", name: "web" });
    expect(replica.apply({ type: "volume.delete", name: "db" })).toMatchObject({
      ok: false,
      message: expect.stringContaining("copied"),
    });
    observe("ready", { id: sampleVmId(9), sizeGiB: 9 });
    expect(replica.state.volumes.get("copy")).toMatchObject({ state: "ready", madeGiB: 9 });
    expect(replica.state.volumes.get("copy")).not.toHaveProperty("sourceId");
    expect(replica.apply({ type: "volume.delete", name: "db" })).toMatchObject({ ok: true });
  });

  it("is deleted when its node says so, and at once when there is no such node", () => {
    observe("ready");
    expect(replica.apply({ type: "volume.delete", name: "db" })).toMatchObject({ ok: true });
    expect(db()).toMatchObject({ state: "deleting" });
    observe("ready");
    expect(db()).toMatchObject({ state: "deleting" });
    expect(desiredVolumes(replica.state, 2)).toMatchObject([{ isDeleted: true }]);
    expect(createVm("web", 1)).toMatchObject({ ok: false, code: "CONFLICT" });
    observe("deleted", { id: sampleVmId(6) });
    expect(db()).toBeDefined();
    observe("deleted");
    expect(db()).toBeUndefined();
    createVolume();
    replica.apply({ type: "node.remove", nodeId: 2 });
    expect(replica.apply({ type: "volume.delete", name: "db" })).toMatchObject({ ok: true });
    expect(db()).toBeUndefined();
  });

  it("is not deleted by what was said of it before it was to be", () => {
    observe("ready");
    observe("deleted");
    expect(db()).toMatchObject({ state: "ready" });
  });
});

describe("a VM with a volume", () => {
  beforeEach(() => {
    observe("ready");
  });

  it("has it alone, and leaves it when it is forgotten", () => {
    expect(createVm("web", 1)).toMatchObject({ ok: true });
    expect(db()).toMatchObject({ attachedTo: "web", epoch: 1 });
    expect(createVm("other", 2)).toMatchObject({
      ok: false,
      code: "CONFLICT",
      message: "the VM web has the volume db",
    });
    expect(replica.apply({ type: "volume.delete", name: "db" })).toMatchObject({ ok: false, code: "CONFLICT" });
    replica.apply({ type: "vm.desire", name: "web", desired: "deleted", newEpoch: false });
    expect(db()).toMatchObject({ attachedTo: "web" });
    const gone = sampleObservation(sampleVmId(1), { phase: "Deleted" });
    replica.apply({ type: "vm.observe", nodeId: 2, observations: [gone] });
    expect(db()).toMatchObject({ attachedTo: null, epoch: 1, state: "ready" });
    expect(createVm("other", 2)).toMatchObject({ ok: true });
    expect(db()).toMatchObject({ attachedTo: "other", epoch: 2 });
    replica.apply({ type: "vm.purge", name: "other" });
    expect(db()).toMatchObject({ attachedTo: null });
  });

  it("leaves it also when it was to be deleted and the lease of its node is over", () => {
    replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
    replica.apply({ type: "cluster.setLevel", level: 3 });
    createVm("a", 1, { ...spec("db"), onPartition: "stop" });
    replica.apply({ type: "vm.desire", name: "a", desired: "deleted", newEpoch: false });
    const fencingEpoch = replica.state.vms.get("a")?.fencingEpoch ?? 0;
    const settle = { type: "vm.settle", name: "a", vmId: sampleVmId(1), from: 2, fencingEpoch } as const;
    expect(replica.apply(settle)).toMatchObject({ ok: true });
    expect(replica.state.vms.has("a")).toBe(false);
    expect(db()).toMatchObject({ attachedTo: null });
  });

  it("leaves it also when it is placed nowhere", () => {
    createVm("web", 1);
    replica.apply({ type: "node.remove", nodeId: 2 });
    replica.apply({ type: "vm.desire", name: "web", desired: "deleted", newEpoch: false });
    expect(replica.state.vms.size).toBe(0);
    expect(db()).toMatchObject({ attachedTo: null });
  });

  it("is made only where the volume is, and only of one that is there", () => {
    expect(createVm("web", 1, spec("db"), 1)).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(createVm("web", 1, spec("no"))).toMatchObject({ ok: false, code: "VOLUME_NOT_FOUND" });
    createVolume("new", sampleVmId(8));
    expect(createVm("web", 1, spec("db", "new"))).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(db()).toMatchObject({ attachedTo: null });
    expect(replica.state.vms.size).toBe(0);
  });
});

describe("a disk that is a volume", () => {
  const parse = (disks: unknown) => vmSpecSchema.safeParse({ memoryMiB: 64, image: "demo", disks }).success;

  it("says nothing else, and is no root", () => {
    expect(parse([{ name: "data", volume: "db" }])).toBe(true);
    expect(parse([{ name: "data", volume: "db", sizeGiB: 1 }])).toBe(false);
    expect(parse([{ name: "data", volume: "db", ephemeral: true }])).toBe(false);
    expect(parse([{ name: "root", volume: "db" }])).toBe(false);
    expect(parse([{ name: "data", volume: "../db" }])).toBe(false);
    expect(
      parse([
        { name: "a", volume: "db" },
        { name: "b", volume: "db" },
      ]),
    ).toBe(false);
  });
});
