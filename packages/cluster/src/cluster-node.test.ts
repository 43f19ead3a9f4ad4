import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { adminToken, ClusterGroup, clusterId, until } from "./testing/cluster-group.ts";

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

const spec = { memoryMiB: 64, image: "demo" };

describe("ClusterNode of one node", () => {
  it("bootstraps, stores and reads a key, and knows its administrator", async () => {
    const node = await group.bootstrap();
    const put = await group.call(1, "kv.put", { key: "k", value: "v" });
    expect(await group.call(1, "kv.get", { key: "k" })).toEqual({ key: "k", value: "v", index: put.index });
    expect(node.status()).toMatchObject({ clusterId, nodeId: 1, role: "leader", leaderId: 1 });
    expect(await node.authenticate(adminToken)).toEqual({ actor: { kind: "token", id: "admin" }, access: "admin" });
    expect(await node.authenticate("another")).toBeUndefined();
  });

  it("runs a VM and reports it as Running, then forgets it when it was deleted", async () => {
    await group.bootstrap();
    const { vm } = await group.call(1, "vm.create", { name: "web", spec });
    expect(vm).toMatchObject({ name: "web", phase: "Pending", node: 1, fencingEpoch: 1 });
    await until(() => group.node(1).state.vms.get("web")?.phase === "Running");
    await group.call(1, "vm.desire", { name: "web", desired: "deleted" });
    await until(() => !group.node(1).state.vms.has("web"));
  });
});

describe("ClusterNode in a group of three", () => {
  it("serves keys through every node and reads its own writes everywhere", async () => {
    await group.form(3);
    for (const id of [1, 2, 3]) {
      const { index } = await group.call(id, "kv.put", { key: `k${id}`, value: `v${id}` });
      for (const reader of [1, 2, 3]) {
        expect(await group.call(reader, "kv.get", { key: `k${id}` })).toEqual({
          key: `k${id}`,
          value: `v${id}`,
          index,
        });
      }
    }
  });
});
