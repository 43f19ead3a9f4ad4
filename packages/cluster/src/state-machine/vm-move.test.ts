import { type CommandBodyOf, lossPolicyOf, type VmSpec, vmSpecSchema } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { initBody, sampleNode, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { demoImage } from "../testing/memory-vm-manager.ts";
import { Replica } from "../testing/replica.ts";
import { noNodeFits } from "./vm-move.ts";

let replica: Replica;

const admit = (id: number) =>
  replica.apply({ type: "node.admit", node: sampleNode(id, { featureLevel: 3 }), ticketId: null });

function create(name: string, spec: Partial<VmSpec> = {}) {
  const made = { type: "vm.create", name, vmId: sampleVmId(1), spec: sampleSpec(spec), node: 2 } as const;
  return replica.apply({ ...made, desired: "running", placement: "" });
}

const move = (fields: Partial<CommandBodyOf<"vm.move">> = {}) =>
  replica.apply({
    ...{ type: "vm.move", name: "web", vmId: sampleVmId(1), from: 2, to: 3, fencingEpoch: 1, reason: "it fits" },
    ...fields,
  });

const web = () => replica.state.vms.get("web");

beforeEach(() => {
  replica = new Replica();
  replica.apply(initBody);
  admit(2);
  admit(3);
});

describe("a new VM below the level of leases", () => {
  it("has no policy, as on the members that know none", () => {
    create("web");
    expect(web()).not.toHaveProperty("lossPolicy");
    expect(move()).toMatchObject({ ok: false, code: "STALE_EPOCH" });
  });
});

describe("vm.move", () => {
  beforeEach(() => {
    replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
    replica.apply({ type: "cluster.setLevel", level: 3 });
  });

  it("gives a VM to another node, in a new epoch", () => {
    create("web");
    expect(move()).toMatchObject({ ok: true });
    expect(web()).toMatchObject({
      node: 3,
      fencingEpoch: 2,
      phase: "Pending",
      reason: "node-lost",
      placement: "it fits",
    });
  });

  it("is what a VM is for that keeps nothing, by default, and one that keeps something waits", () => {
    const policy = (disks: VmSpec["disks"], fields: Partial<VmSpec> = {}) => {
      create("web", { ...fields, ...(disks === undefined ? {} : { disks }) });
      const { lossPolicy } = web() ?? {};
      replica.apply({ type: "vm.purge", name: "web" });
      return lossPolicy;
    };
    const waits = { onNodeLoss: "wait", onPartition: "keep", effect: "waits" };
    expect(policy([{ name: "a", sizeGiB: 1 }])).toEqual(waits);
    expect(policy([{ name: "a", sizeGiB: 1, ephemeral: true }])).toMatchObject({ onNodeLoss: "move", effect: "moves" });
    expect(policy([{ name: "a", sizeGiB: 1 }], { onNodeLoss: "move" })).toMatchObject({
      onPartition: "stop",
      effect: "moves without data",
    });
  });

  it("is void for another node, epoch or VM than the leader saw, also when it is repeated", () => {
    create("web");
    expect(move({ from: 1 })).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(move({ fencingEpoch: 2 })).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(move({ vmId: sampleVmId(2) })).toMatchObject({ ok: false, code: "VM_NOT_FOUND" });
    expect(move()).toMatchObject({ ok: true });
    expect(move()).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(web()).toMatchObject({ node: 3, fencingEpoch: 2 });
  });

  it("leaves alone what waits for its node, and what is not to run", () => {
    create("web", { onNodeLoss: "wait" });
    expect(move()).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    replica.apply({ type: "vm.purge", name: "web" });
    create("web");
    replica.apply({ type: "vm.desire", name: "web", desired: "stopped", newEpoch: false });
    expect(move()).toMatchObject({ ok: false, code: "STALE_EPOCH" });
  });

  it("says why a VM fits nowhere, and leaves it to the node that it has", () => {
    create("web");
    const { to: _, ...nowhere } = { to: 3, reason: "0 of 3 nodes fit" };
    const body = { type: "vm.move", name: "web", vmId: sampleVmId(1), from: 2, fencingEpoch: 1, ...nowhere } as const;
    expect(replica.apply(body)).toMatchObject({ ok: true });
    expect(web()).toMatchObject({
      node: 2,
      fencingEpoch: 1,
      phase: "Pending",
      reason: noNodeFits,
      message: nowhere.reason,
    });
    expect(move()).toMatchObject({ ok: true });
  });

  it("goes to no node that is not there, or leaves", () => {
    create("web");
    expect(move({ to: 9 })).toMatchObject({ ok: false, code: "NODE_NOT_FOUND" });
    replica.apply({ type: "node.update", nodeId: 3, leaving: true });
    expect(move()).toMatchObject({ ok: false, code: "CONFLICT" });
  });

  it("goes to no node on which its port leads to another VM by now", () => {
    const forwards = [{ port: 8080, to: 80 }];
    create("web", { forwards });
    const other = {
      type: "vm.create",
      name: "db",
      vmId: sampleVmId(2),
      spec: sampleSpec({ forwards }),
      node: 3,
    } as const;
    replica.apply({ ...other, desired: "running", placement: "" });
    const before = web();
    expect(move()).toMatchObject({
      ...{ ok: false, code: "CONFLICT" },
      message: "node 3 cannot take the VM: its port 127.0.0.1:8080 leads to the VM db",
    });
    expect(web()).toEqual(before);
    expect(move({ to: 1 })).toMatchObject({ ok: true });
  });

  it("keeps what was given apart from what follows from it", () => {
    create("web");
    expect(web()?.spec).not.toHaveProperty("onPartition");
    expect(web()?.lossPolicy).toEqual({ onNodeLoss: "move", onPartition: "stop", effect: "moves" });
    replica.apply({ type: "vm.purge", name: "web" });
    replica.apply({ type: "image.put", image: { ...demoImage, name: "disk", format: "disk", builtin: false } });
    create("web", { image: "disk" });
    expect(web()?.lossPolicy).toEqual({ onNodeLoss: "wait", onPartition: "keep", effect: "waits" });
  });
});

describe("vm.settle", () => {
  beforeEach(() => {
    replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
    replica.apply({ type: "cluster.setLevel", level: 3 });
  });

  const settle = (fields: Partial<CommandBodyOf<"vm.settle">> = {}) =>
    replica.apply({ type: "vm.settle", name: "web", vmId: sampleVmId(1), from: 2, fencingEpoch: 1, ...fields });
  const desire = (desired: "running" | "stopped" | "deleted") =>
    replica.apply({ type: "vm.desire", name: "web", desired, newEpoch: false });

  it("says of a VM that was to stop that it has, in an epoch of which its node knows nothing, and frees it", () => {
    create("web");
    replica.apply({ type: "node.liveness", nodeId: 2, reachable: false });
    desire("stopped");
    expect(web()).toMatchObject({ phase: "Unknown", conditions: [{ type: "NodeReachable" }] });
    expect(settle()).toMatchObject({ ok: true });
    expect(web()).toMatchObject({ node: null, fencingEpoch: 2, phase: "Stopped", reason: "node-lost", conditions: [] });
    expect(settle()).toMatchObject({ ok: false, code: "STALE_EPOCH" });
  });

  it("leaves it on its node when it waits for that", () => {
    create("web", { onNodeLoss: "wait", onPartition: "stop" });
    desire("stopped");
    expect(settle()).toMatchObject({ ok: true });
    expect(web()).toMatchObject({ node: 2, fencingEpoch: 2, phase: "Stopped" });
  });

  it("forgets a VM that was to be deleted", () => {
    create("web");
    desire("deleted");
    expect(settle()).toMatchObject({ ok: true });
    expect(web()).toBeUndefined();
  });

  it("is void for what runs on without a lease, for what is to run, and for another node, epoch or VM", () => {
    create("web", { onPartition: "keep" });
    desire("stopped");
    expect(settle()).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    replica.apply({ type: "vm.purge", name: "web" });
    create("web");
    expect(settle()).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    desire("stopped");
    expect(settle({ from: 3 })).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(settle({ fencingEpoch: 2 })).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(settle({ vmId: sampleVmId(2) })).toMatchObject({ ok: false, code: "VM_NOT_FOUND" });
    expect(web()).toMatchObject({ node: 2, phase: "Pending" });
  });
});

describe("a long lease", () => {
  beforeEach(() => {
    replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
    replica.apply({ type: "cluster.setLevel", level: 3 });
  });

  const say = (ms: number, starts: number) =>
    replica.apply({ type: "node.update", nodeId: 2, longLease: { ms, starts } }).ok;
  const present = () => replica.state.nodes.get("00002")?.longLease;

  it("is ended by a later start of the node only, however late a word of an earlier one comes", () => {
    expect(say(300_000, 4)).toBe(true);
    expect(say(0, 4)).toBe(false);
    expect(say(0, 5)).toBe(true);
    expect(say(300_000, 4)).toBe(false);
    expect(say(300_000, 5)).toBe(true);
    expect(say(0, 5)).toBe(false);
    expect(present()).toEqual({ ms: 300_000, starts: 5 });
  });

  it("stays with a node that comes back with another store: its VMs may run", () => {
    say(300_000, 4);
    const node = sampleNode(2, { featureLevel: 3, storeId: "b".repeat(32) });
    expect(replica.apply({ type: "node.admit", node, ticketId: null })).toMatchObject({ ok: true });
    expect(present()).toEqual({ ms: 300_000, starts: 4 });
  });
});

describe("the policy of a VM", () => {
  it.each([
    [{}, false, "move stop moves"],
    [{}, true, "wait keep waits"],
    [{ onPartition: "keep" }, false, "wait keep waits"],
    [{ onPartition: "stop" }, false, "move stop moves"],
    [{ onPartition: "stop" }, true, "wait stop waits"],
    [{ onNodeLoss: "wait" }, false, "wait keep waits"],
    [{ onNodeLoss: "move" }, true, "move stop moves without data"],
    [{ onNodeLoss: "wait", onPartition: "stop" }, false, "wait stop waits"],
  ] as const)("of %j with data of its own %j is %s", (wishes, ownData, expected) => {
    const { onNodeLoss, onPartition, effect } = lossPolicyOf(wishes, { ownData });
    expect(`${onNodeLoss} ${onPartition} ${effect}`).toBe(expected);
  });

  it("never moves what runs on without a lease, and is refused where somebody asks for that", () => {
    const wishes = [undefined, "move", "wait"].flatMap((onNodeLoss) =>
      [undefined, "stop", "keep"].map((onPartition) => ({ onNodeLoss, onPartition }) as const),
    );
    for (const wish of wishes) {
      const given = Object.fromEntries(Object.entries(wish).filter(([, value]) => value !== undefined));
      const parsed = vmSpecSchema.safeParse({ memoryMiB: 64, image: "demo", ...given });
      expect(parsed.success).toBe(!(wish.onNodeLoss === "move" && wish.onPartition === "keep"));
      if (!parsed.success) {
        expect(parsed.error.issues[0]).toMatchObject({
          path: ["onNodeLoss"],
          message: expect.stringContaining("needs onPartition: stop"),
        });
        continue;
      }
      for (const ownData of [false, true]) {
        const policy = lossPolicyOf(parsed.data, { ownData });
        expect(policy.onNodeLoss === "move" && policy.onPartition === "keep").toBe(false);
      }
    }
  });
});
