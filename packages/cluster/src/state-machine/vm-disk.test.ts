import type { CommandBodyOf, GuestDisks, VmObservation } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { initBody, sampleNode, sampleObservation, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { desiredOf } from "../testing/desired-of.ts";
import { Replica } from "../testing/replica.ts";

let replica: Replica;
const change = (body: CommandBodyOf<"vm.disk">["change"], name = "web") =>
  replica.apply({ type: "vm.disk", name, change: body });
const attach = (volume: string, name = "web") => change({ kind: "attach", disk: `d-${volume}`, volume }, name);
const detach = (volume: string) => change({ kind: "detach", disk: `d-${volume}` });
const observe = (fields: Partial<VmObservation>) =>
  replica.apply({ type: "vm.observe", nodeId: 2, observations: [sampleObservation(sampleVmId(1), fields)] });
const guest = (index: number, ...names: string[]): { guestDisks: GuestDisks } => ({
  guestDisks: { index, disks: names.map((name) => ({ name, sizeBytes: 1024 ** 3 })) },
});
const web = () => replica.state.vms.get("web");
const ownerOf = (volume: string) => replica.state.volumes.get(volume)?.attachedTo;
const changedAt = () => web()?.disksIndex ?? -1;

beforeEach(() => {
  replica = new Replica();
  replica.apply(initBody);
  replica.apply({ type: "node.admit", node: sampleNode(2, { featureLevel: 3 }), ticketId: null });
  replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
  replica.apply({ type: "cluster.setLevel", level: 3 });
  for (const [at, name] of ["db", "logs", "away"].entries()) {
    const node = name === "away" ? 1 : 2;
    const volumeId = sampleVmId(10 + at);
    replica.apply({ type: "volume.create", name, volumeId, sizeGiB: 8, kind: "local", node });
    replica.apply({
      type: "volume.observe",
      nodeId: node,
      observations: [{ volumeId, state: "ready", epoch: replica.state.volumes.get("db")?.epoch ?? 0, sizeGiB: 8 }],
    });
  }
  const vm = { desired: "running", placement: "", node: 2 } as const;
  replica.apply({ type: "vm.create", name: "web", vmId: sampleVmId(1), spec: sampleSpec(), ...vm });
  replica.apply({ type: "vm.create", name: "other", vmId: sampleVmId(2), spec: sampleSpec(), ...vm });
  observe({});
});

describe("a volume that a VM gets", () => {
  it("is its own from then on, and the VM waits for its node", () => {
    expect(web()).toMatchObject({ lossPolicy: { effect: "moves" } });
    expect(attach("db")).toMatchObject({ ok: true, value: { vm: { fencingEpoch: 1 } } });
    expect(web()).toMatchObject({
      spec: { disks: [{ name: "d-db", volume: "db" }] },
      lossPolicy: { onNodeLoss: "wait", effect: "waits" },
    });
    expect(replica.state.volumes.get("db")).toMatchObject({ attachedTo: "web", epoch: 1 });
    const [wish] = desiredOf(replica.state, 2).filter(({ name }) => name === "web");
    expect(wish).toMatchObject({ disksIndex: changedAt(), volumeIds: new Map([["db", sampleVmId(10)]]) });
    attach("logs");
    expect(replica.state.volumes.get("db")).toMatchObject({ epoch: 1 });
    replica.apply({ type: "vm.purge", name: "web" });
    expect([ownerOf("db"), ownerOf("logs")]).toEqual([null, null]);
  });

  it.each([
    ["of another VM", () => attach("db", "other"), "CONFLICT"],
    ["that is on another node", () => attach("away"), "CONFLICT"],
    ["that there is not", () => attach("none"), "VOLUME_NOT_FOUND"],
    ["of no VM", () => attach("logs", "none"), "VM_NOT_FOUND"],
    ["by a name that is taken", () => change({ kind: "attach", disk: "d-db", volume: "logs" }), "CONFLICT"],
  ])("is refused when it is one %s, and nothing changes", (_, asked, code) => {
    attach("db");
    const before = JSON.stringify([web(), ownerOf("db"), ownerOf("logs"), ownerOf("away")]);
    expect(asked()).toMatchObject({ ok: false, code });
    expect(JSON.stringify([web(), ownerOf("db"), ownerOf("logs"), ownerOf("away")])).toBe(before);
  });

  it("is refused to a VM that moves when its node is lost", () => {
    const spec = sampleSpec({ onNodeLoss: "move" });
    replica.apply({
      ...{ type: "vm.create", name: "moves", vmId: sampleVmId(3), spec, desired: "running", placement: "", node: 2 },
    });
    expect(attach("db", "moves")).toMatchObject({ ok: false, code: "CONFLICT" });
  });
});

describe("a volume that a VM is to let go of", () => {
  beforeEach(() => {
    attach("db");
    attach("logs");
    observe(guest(changedAt(), "d-db", "d-logs"));
    expect(detach("db")).toMatchObject({ ok: true });
  });

  it("is its own until the guest has it no more, as of that wish", () => {
    expect(web()?.spec.disks).toEqual([{ name: "d-logs", volume: "logs" }]);
    expect(web()).toMatchObject({ detaching: [{ disk: "d-db", volume: "db" }], lossPolicy: { effect: "waits" } });
    // Said before the node knew: perhaps before it had given the disk to the guest at all.
    observe(guest(changedAt() - 1));
    expect(ownerOf("db")).toBe("web");
    observe({});
    observe(guest(changedAt(), "d-db", "d-logs"));
    expect(ownerOf("db")).toBe("web");
    expect(attach("db", "other")).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(detach("db")).toMatchObject({ ok: true });
    observe(guest(changedAt(), "d-logs"));
    expect([ownerOf("db"), ownerOf("logs")]).toEqual([null, "web"]);
    expect(web()).not.toHaveProperty("detaching");
    expect(attach("db", "other")).toMatchObject({ ok: true });
  });

  it("is free when the VM has stopped or is forgotten", () => {
    expect(attach("away")).toMatchObject({ ok: false, message: expect.stringContaining("let go of the volume db") });
    observe({ phase: "Stopped" });
    expect([ownerOf("db"), ownerOf("logs")]).toEqual([null, "web"]);
    expect(detach("logs")).toMatchObject({ ok: true });
    expect(ownerOf("logs")).toBeNull();
    expect(web()?.spec).not.toHaveProperty("disks");
    expect(web()).toMatchObject({ lossPolicy: { effect: "moves" } });
    expect(detach("logs")).toMatchObject({ ok: false, code: "CONFLICT" });
  });

  it("goes with a VM that is forgotten meanwhile", () => {
    replica.apply({ type: "vm.purge", name: "web" });
    expect([ownerOf("db"), ownerOf("logs")]).toEqual([null, null]);
  });
});

describe("a disk of a VM", () => {
  it("becomes larger and no smaller, and is no volume", () => {
    const disks = [{ name: "data", sizeGiB: 2 }];
    const spec = sampleSpec({ disks });
    replica.apply({
      ...{ type: "vm.create", name: "own", vmId: sampleVmId(4), spec, desired: "running", placement: "", node: 2 },
    });
    const resize = (disk: string, sizeGiB: number) => change({ kind: "change", disk, sizeGiB }, "own");
    expect(resize("data", 3)).toMatchObject({ ok: true });
    expect(replica.state.vms.get("own")).toMatchObject({ spec: { disks: [{ name: "data", sizeGiB: 3 }] } });
    expect(resize("data", 2)).toMatchObject({ ok: false, message: "the disk data has 3 GiB, and becomes no smaller" });
    expect(resize("none", 4)).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(change({ kind: "detach", disk: "data" }, "own")).toMatchObject({ ok: false, code: "CONFLICT" });
    attach("db", "own");
    expect(resize("d-db", 9)).toMatchObject({ ok: false, message: "the disk d-db is the volume db" });
  });

  it("gets limits and loses them, each by itself, as a volume too", () => {
    attach("db");
    const limit = (limits: { iops?: number | null; bytesPerSecond?: number | null }) =>
      change({ kind: "change", disk: "d-db", ...limits });
    const volume = { name: "d-db", volume: "db" };
    expect(limit({ iops: 100 })).toMatchObject({ ok: true });
    expect(limit({ bytesPerSecond: 1_000_000 })).toMatchObject({ ok: true });
    expect(web()?.spec.disks).toEqual([{ ...volume, iops: 100, bytesPerSecond: 1_000_000 }]);
    limit({ iops: null });
    expect(web()?.spec.disks).toEqual([{ ...volume, bytesPerSecond: 1_000_000 }]);
    limit({ bytesPerSecond: null });
    expect(web()?.spec.disks).toEqual([volume]);
    const { disksIndex } = web() ?? {};
    expect(limit({ iops: null })).toMatchObject({ ok: true });
    expect(web()?.disksIndex).toBe(disksIndex);
  });

  it("counts for the quota of its project", () => {
    const spec = sampleSpec({ disks: [{ name: "data", sizeGiB: 2 }] });
    const own = { type: "vm.create", name: "own", vmId: sampleVmId(4), spec, labels: { project: "p" } } as const;
    replica.apply({ ...own, desired: "running", placement: "", node: 2 });
    replica.apply({ type: "quota.set", project: "p", quota: { diskMiB: 3 * 1024 } });
    const resize = (sizeGiB: number) => change({ kind: "change", disk: "data", sizeGiB }, "own");
    expect(resize(4)).toMatchObject({ ok: false, code: "QUOTA_EXCEEDED" });
    expect(resize(3)).toMatchObject({ ok: true });
  });
});
