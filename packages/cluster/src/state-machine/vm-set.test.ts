import { type CommandBodyOf, pendingRestart, type VmSpec } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { usageByNode } from "../scheduler/usage.ts";
import { initBody, sampleNode, sampleObservation, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { demoImage } from "../testing/memory-vm-manager.ts";
import { Replica } from "../testing/replica.ts";

let replica: Replica;

const create = (name: string, spec: Partial<VmSpec> = {}, labels?: Record<string, string>) =>
  replica.apply({
    ...{ type: "vm.create", name, vmId: sampleVmId(name.length), spec: sampleSpec(spec), node: 1, placement: "" },
    ...{ desired: "running", ...(labels === undefined ? {} : { labels }) },
  });
const set = (change: Partial<CommandBodyOf<"vm.set">>, fields: object = {}) =>
  replica.apply({ type: "vm.set", name: "web", set: {}, unset: [], labels: {}, unsetLabels: [], ...change }, fields);
const desire = (fields: Partial<CommandBodyOf<"vm.desire">>) =>
  replica.apply({ type: "vm.desire", name: "web", desired: "running", newEpoch: false, ...fields });
const observe = (onPartition: "stop" | "keep" | undefined, more: object = {}) =>
  replica.apply({
    ...{ type: "vm.observe", nodeId: 1 },
    observations: [
      sampleObservation(sampleVmId(3), {
        fencingEpoch: web()?.fencingEpoch ?? 0,
        ...(onPartition === undefined ? {} : { startedWith: { vcpus: 1, memoryMiB: 64, onPartition } }),
        ...more,
      }),
    ],
  });
const web = () => replica.state.vms.get("web");
const restart = () => desire({ newEpoch: true });

beforeEach(() => {
  replica = new Replica();
  replica.apply(initBody);
  replica.apply({ type: "node.admit", node: sampleNode(2, { featureLevel: 3 }), ticketId: null });
  replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
  replica.apply({ type: "cluster.setLevel", level: 3 });
});

describe("vm.set", () => {
  it("gives a process that keeps its network cards others when it is started again", () => {
    create("web", { networks: [] });
    observe("stop", { startedWith: { vcpus: 1, memoryMiB: 64, onPartition: "stop", cards: [] } });
    const user = [{ network: "user" }];
    expect(set({ set: { networks: user } })).toMatchObject({ ok: true, value: { changes: [{ effect: "restart" }] } });
    expect(pendingRestart(web() as never)).toEqual([{ field: "networks", runs: "none", wanted: "user" }]);
    expect(set({ set: { networks: [] } })).toMatchObject({ ok: true, value: { changes: [{ effect: "now" }] } });
    expect(pendingRestart(web() as never)).toEqual([]);
    observe("stop");
    expect(set({ set: { networks: user } })).toMatchObject({ ok: true, value: { changes: [{ effect: "now" }] } });
    expect(pendingRestart(web() as never)).toEqual([]);
  });

  it("changes the fields that it names, and says which of them wait for a restart", () => {
    create("web", { placement: { priority: 7 } }, { app: "a", tier: "front" });
    observe("stop");
    const before = web();
    expect(
      set({
        set: { memoryMiB: 128, restartPolicy: "always" },
        unset: ["placement"],
        labels: { app: "b" },
        unsetLabels: ["tier"],
      }),
    ).toMatchObject({
      ok: true,
      value: {
        changes: [
          { field: "memoryMiB", from: "64", to: "128", effect: "restart" },
          { field: "restartPolicy", from: '"on-failure"', to: '"always"', effect: "now" },
          { field: "placement", from: '{"priority":7}', effect: "placement" },
          { field: "labels", to: '{"app":"b"}', effect: "placement" },
        ],
      },
    });
    expect(web()).toEqual({
      ...before,
      spec: { ...sampleSpec({ memoryMiB: 128, restartPolicy: "always" }) },
      labels: { app: "b" },
      updatedIndex: replica.index,
    });
    expect(web() && pendingRestart(web() as never)).toEqual([{ field: "memoryMiB", runs: "64", wanted: "128" }]);
    observe(undefined, { startedWith: { vcpus: 1, memoryMiB: 128, onPartition: "stop" } });
    expect(pendingRestart(web() as never)).toEqual([]);
  });

  it("holds at once within what the process can become, and takes the room of what it has until then", () => {
    const hotplug = { vcpus: { min: 1, max: 4 }, memoryMiB: { min: 64, max: 256 } };
    create("web", { vcpusMax: 4, memoryMiBMax: 256 });
    observe(undefined, { startedWith: { vcpus: 1, memoryMiB: 64, onPartition: "stop", hotplug } });
    const effects = (change: Partial<VmSpec>) => {
      const answer = set({ set: change }) as { value?: { changes: { field: string; effect: string }[] } };
      return answer.value?.changes.map(({ field, effect }) => `${field} ${effect}`);
    };
    expect(effects({ vcpus: 3, memoryMiB: 128 })).toEqual(["vcpus now", "memoryMiB now"]);
    expect(pendingRestart(web() as never)).toEqual([]);
    observe(undefined, { startedWith: { vcpus: 3, memoryMiB: 128, onPartition: "stop", hotplug } });
    expect(effects({ vcpus: 1, memoryMiB: 66 })).toEqual(["vcpus now", "memoryMiB now"]);
    const used = () => usageByNode(replica.state, [], { overheadMemoryMiB: 0 }).get(1);
    expect(used()).toMatchObject({ vcpus: 3, memoryMiB: 128 });
    observe(undefined, { startedWith: { vcpus: 1, memoryMiB: 66, onPartition: "stop", hotplug } });
    expect(used()).toMatchObject({ vcpus: 1, memoryMiB: 66 });
    expect(effects({ memoryMiB: 62, vcpusMax: 8 })).toEqual(["memoryMiB restart", "vcpusMax restart"]);
    expect(pendingRestart(web() as never)).toEqual([
      { field: "memoryMiB", runs: "66", wanted: "62" },
      { field: "vcpusMax", runs: "4", wanted: "8" },
    ]);
    for (const change of [{ vcpus: 9 }, { memoryMiB: 258 }, { memoryMiB: 65 }, { memoryMiBMax: 255 }]) {
      expect(set({ set: change })).toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    expect(set({ set: { memoryMiB: 258 }, unset: ["memoryMiBMax"] })).toMatchObject({ ok: true });
  });

  it("changes nothing where nothing is another, where the index is another, and of a VM that is deleted", () => {
    create("web", {}, { app: "a" });
    const before = web();
    expect(set({ set: { memoryMiB: 64 }, labels: { app: "a" }, unset: ["health"] })).toMatchObject({
      ok: true,
      value: { changes: [] },
    });
    expect(set({ set: { memoryMiB: 65 } }, { ifMatchIndex: 2 })).toMatchObject({ code: "PRECONDITION_FAILED" });
    expect(web()).toEqual(before);
    expect(set({ set: { memoryMiB: 65 } }, { ifMatchIndex: before?.updatedIndex ?? 0 })).toMatchObject({ ok: true });
    desire({ desired: "deleted" });
    expect(set({ set: { memoryMiB: 66 } })).toMatchObject({ code: "CONFLICT" });
    expect(set({ name: "none", set: { memoryMiB: 66 } })).toMatchObject({ code: "VM_NOT_FOUND" });
  });

  it("refuses what no new VM could be, and changes nothing then", () => {
    const forwards = [{ port: 80, to: 80 }];
    create("other", { forwards });
    create("web", { networks: [{ network: "user" }] });
    replica.apply({ type: "image.put", image: { ...demoImage, name: "big", builtin: false, minMemoryMiB: 512 } });
    const before = web();
    for (const change of [
      { set: { onNodeLoss: "move", onPartition: "keep" } },
      { set: { memoryMiB: 4 } },
      { set: { forwards } },
      { labels: Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`k${at}`, "v"])) },
    ] as const) {
      expect(set(change)).toMatchObject({ ok: false });
    }
    expect(web()).toEqual(before);
  });

  it("keeps to the quota of a project, but lets in what does not grow", () => {
    replica.apply({ type: "quota.set", project: "lab", quota: { memoryMiB: 100, vms: 1 } });
    create("web", {}, { project: "lab" });
    expect(set({ set: { memoryMiB: 101 } })).toMatchObject({ code: "QUOTA_EXCEEDED" });
    expect(set({ set: { memoryMiB: 100 } })).toMatchObject({ ok: true });
    replica.apply({ type: "quota.set", project: "lab", quota: { memoryMiB: 10, vms: 0 } });
    expect(set({ set: { restartPolicy: "never", memoryMiB: 50 } })).toMatchObject({ ok: true });
    replica.apply({ type: "quota.set", project: "shop", quota: { memoryMiB: 40 } });
    expect(set({ labels: { project: "shop" } })).toMatchObject({ code: "QUOTA_EXCEEDED" });
    expect(set({ unsetLabels: ["project"] })).toMatchObject({ ok: true });
    expect(web()).not.toHaveProperty("labels");
  });
});

describe("what becomes of a VM without its node, when it is changed", () => {
  const keeps = { onNodeLoss: "wait", onPartition: "keep" } as const;
  const moves = { onNodeLoss: "move", onPartition: "stop" } as const;

  it("holds at once where it stays, and when nothing runs", () => {
    create("web", moves);
    observe("stop");
    expect(set({ set: keeps })).toMatchObject({ ok: true });
    expect(web()).toMatchObject({ lossPolicy: { ...keeps, effect: "waits" } });
    expect(pendingRestart(web() as never)).toMatchObject([{ field: "onPartition", runs: "stop", wanted: "keep" }]);
    desire({ desired: "stopped" });
    observe(undefined, { phase: "Stopped" });
    set({ set: moves });
    expect(web()).toMatchObject({ lossPolicy: { ...moves, effect: "moves" } });
    expect(web()).not.toHaveProperty("nextLossPolicy");
  });

  it("lets nobody move a VM before a process of it runs that ends with the lease", () => {
    create("web", keeps);
    observe("keep");
    const moved = () =>
      replica.apply({
        ...{ type: "vm.move", name: "web", vmId: sampleVmId(3), from: 1, to: 2, reason: "" },
        fencingEpoch: web()?.fencingEpoch ?? 0,
      });
    expect(set({ set: moves })).toMatchObject({
      value: { changes: [{ field: "onNodeLoss", effect: "restart" }, { field: "onPartition" }] },
    });
    expect(web()).toMatchObject({ lossPolicy: keeps, nextLossPolicy: { policy: moves, fencingEpoch: 1 } });
    // It started again by itself, and its node may not have known.
    observe("stop");
    expect(moved()).toMatchObject({ code: "STALE_EPOCH" });
    restart();
    observe("keep");
    expect(moved()).toMatchObject({ code: "STALE_EPOCH" });
    observe("stop");
    expect(web()).toMatchObject({ lossPolicy: { ...moves, effect: "moves" } });
    expect(web()).not.toHaveProperty("nextLossPolicy");
    expect(moved()).toMatchObject({ ok: true });
    expect(web()).not.toHaveProperty("startedWith");
  });

  it("is taken back before it holds", () => {
    create("web", keeps);
    observe("keep");
    set({ set: moves });
    set({ set: keeps });
    restart();
    observe("keep");
    expect(web()).toMatchObject({ lossPolicy: keeps });
    expect(web()).not.toHaveProperty("nextLossPolicy");
  });
});
