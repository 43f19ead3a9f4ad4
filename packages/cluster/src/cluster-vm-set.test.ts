import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup, until } from "./testing/cluster-group.ts";

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

const vmAt = (id: number, name: string) => group.node(id).state.vms.get(name);
const create = (name: string, spec: object = {}, more: object = {}) =>
  group.call(1, "vm.create", { name, spec: { memoryMiB: 64, image: "demo", ...spec }, ...more });
const runs = (name: string) => until(() => vmAt(1, name)?.startedWith !== undefined);

describe("vm.set", () => {
  it("goes through any node, says what waits for a restart, and a restart gives it", async () => {
    await group.form(3);
    await create("web", {}, { labels: { app: "web" } });
    await runs("web");
    const request = { name: "web", spec: { memoryMiB: 128, placement: { priority: 9 } }, labels: { tier: "front" } };
    const foreseen = await group.call(3, "vm.set", { ...request, dryRun: true });
    expect(foreseen).toMatchObject({ vm: { spec: { memoryMiB: 128 } }, changes: { length: 3 } });
    expect(vmAt(1, "web")?.spec.memoryMiB).toBe(64);
    const { changes } = await group.call(3, "vm.set", request);
    expect(changes).toEqual(foreseen.changes);
    expect(await group.call(2, "vm.explain", { name: "web" })).toMatchObject({
      pendingRestart: [{ field: "memoryMiB", runs: "64", wanted: "128" }],
    });
    await group.call(2, "vm.desire", { name: "web", desired: "running", restart: true });
    await until(() => vmAt(1, "web")?.startedWith?.memoryMiB === 128);
    expect(await group.call(1, "vm.explain", { name: "web" })).not.toHaveProperty("pendingRestart");
    expect(vmAt(1, "web")).toMatchObject({
      spec: { placement: { priority: 9 } },
      labels: { app: "web", tier: "front" },
    });
    // A part of an object leaves the others, and the whole specification nothing that it does not name.
    await group.call(1, "vm.set", { name: "web", spec: { placement: { spread: "node" } } });
    expect(vmAt(1, "web")?.spec.placement).toEqual({ priority: 9, spread: "node" });
    await group.call(1, "vm.set", { name: "web", spec: { memoryMiB: 128 }, labels: { app: "web" }, whole: true });
    expect(vmAt(1, "web")).toMatchObject({
      spec: { memoryMiB: 128, image: "demo", vcpus: 1, restartPolicy: "on-failure" },
      labels: { app: "web" },
    });
    expect(vmAt(1, "web")?.spec).not.toHaveProperty("placement");
  });

  it("looks for room where the VM runs, counts what runs still, and lets one that waits in", async () => {
    await group.bootstrap();
    await create("web", { memoryMiB: 600 });
    await runs("web");
    const set = (name: string, memoryMiB: number) => group.call(1, "vm.set", { name, spec: { memoryMiB } });
    await expect(set("web", 1_000)).rejects.toMatchObject({ code: "NO_CAPACITY" });
    expect(vmAt(1, "web")?.spec.memoryMiB).toBe(600);
    await set("web", 100);
    expect(await create("next", { memoryMiB: 600 })).toMatchObject({ vm: { node: null } });
    await set("next", 200);
    await until(() => vmAt(1, "next")?.node === 1);
    expect(await create("last", { memoryMiB: 600 })).toMatchObject({ vm: { node: null } });
    await group.call(1, "vm.desire", { name: "web", desired: "running", restart: true });
    await group.call(1, "vm.set", { name: "last", spec: { memoryMiB: 400 } });
    await until(() => vmAt(1, "last")?.node === 1);
  });

  it("lets a VM move once its node has started it as one that ends with the lease", async () => {
    await group.bootstrap();
    await create("web", { onPartition: "keep" });
    await runs("web");
    const spec = { onNodeLoss: "move", onPartition: "stop" } as const;
    expect(await group.call(1, "vm.set", { name: "web", spec })).toMatchObject({
      vm: { lossPolicy: { onNodeLoss: "wait", onPartition: "keep" }, nextLossPolicy: { policy: spec } },
    });
    await group.call(1, "vm.desire", { name: "web", desired: "running", restart: true });
    await until(() => vmAt(1, "web")?.lossPolicy?.onNodeLoss === "move");
    expect(vmAt(1, "web")).toMatchObject({ startedWith: { onPartition: "stop" } });
  });

  it("refuses what it does not change, and says what to do instead", async () => {
    await group.bootstrap();
    await create("web", { disks: [{ name: "data", sizeGiB: 1 }] });
    const before = vmAt(1, "web");
    const refusal = (spec: object) =>
      group.call(1, "vm.set", { name: "web", spec }).then(
        () => undefined,
        (error: unknown) => error,
      );
    for (const spec of [{ image: "other" }, { disks: [] }, { cloudInit: { hostname: "web" } }]) {
      expect(await refusal({ ...spec, memoryMiB: 128 })).toMatchObject({
        code: "UNSUPPORTED",
        hint: expect.any(String),
      });
    }
    expect(await refusal({ health: [{ type: "agent" }] })).toMatchObject({
      ...{
        code: "UNSUPPORTED",
        message: expect.stringContaining("no channel for an agent, which the health check agent"),
      },
    });
    // No node can do that, today or later: it does not wait for one.
    const beyond: object[] = [{ vcpusMax: 2 }, { memoryMiBMax: 128 }, { health: [{ type: "agent" }] }];
    for (const more of beyond) {
      const asked = group.call(1, "vm.candidates", { spec: { memoryMiB: 64, image: "demo", ...more } });
      for (const call of [refusal(more), create("other", more), asked]) {
        expect(await call.catch((error: unknown) => error)).toMatchObject({
          ...{ code: "UNSUPPORTED", message: expect.stringContaining("a guest of a multiboot image") },
        });
      }
    }
    expect(await refusal({ memoryMiB: 4 })).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await refusal({ autostart: { delayMs: 5 } })).toMatchObject({
      ...{ code: "INVALID_ARGUMENT", message: expect.stringContaining("spec.autostart.order") },
    });
    await expect(
      group.call(1, "vm.set", { name: "web", spec: { memoryMiB: 65 }, labels: { app: "x" }, unsetLabels: ["app"] }),
    ).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(group.call(1, "vm.set", { name: "none", spec: {} })).rejects.toMatchObject({ code: "VM_NOT_FOUND" });
    expect(vmAt(1, "web")?.spec).toEqual(before?.spec);
    expect(vmAt(1, "web")).not.toHaveProperty("labels");
    // What it has already is no change of it.
    await group.call(1, "vm.set", { name: "web", spec: { image: "demo", disks: [{ name: "data", sizeGiB: 1 }] } });
  });
});
