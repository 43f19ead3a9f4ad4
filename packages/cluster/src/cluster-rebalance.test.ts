import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup, until } from "./testing/cluster-group.ts";

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup();
  await group.form(3);
});
afterEach(async () => {
  await group.close();
});

const state = () => group.node(1).state;
const onNode = (id: number) => [...state().vms.values()].filter(({ node }) => node === id).length;

describe("rebalancing", () => {
  it("is an operation of the cluster that moves what gains by it, once", async () => {
    for (const id of [2, 3]) await group.call(1, "node.cordon", { id, cordoned: true });
    for (let at = 0; at < 6; at++) {
      await group.call(1, "vm.create", { name: `vm-${at}`, spec: { memoryMiB: 64, image: "demo" } });
    }
    await until(() => [...state().vms.values()].every(({ phase }) => phase === "Running"));
    for (const id of [2, 3]) await group.call(1, "node.cordon", { id, cordoned: false });
    const foreseen = await group.call(2, "scheduling.rebalance", { dryRun: true });
    expect(foreseen.plan).toHaveLength(4);
    expect(foreseen).not.toHaveProperty("operation");
    const { plan, operation } = await group.call(2, "scheduling.rebalance", { parallel: 1 });
    expect(plan).toEqual(foreseen.plan);
    expect(operation).toMatchObject({ kind: "rebalance", subject: "the cluster", moves: { length: 4 } });
    expect(operation).not.toHaveProperty("nodeId");
    await expect(group.call(3, "scheduling.rebalance", {})).rejects.toMatchObject({ code: "CONFLICT" });
    await until(() => state().operations.get(operation?.id ?? "")?.state === "done");
    expect(state().operations.get(operation?.id ?? "")).toMatchObject({ percent: 100, message: "4 VMs moved, 0 left" });
    expect([1, 2, 3].map(onNode)).toEqual([2, 2, 2]);
    expect((await group.call(1, "scheduling.rebalance", { dryRun: true })).plan).toEqual([]);
    const again = await group.call(1, "scheduling.rebalance", {});
    await until(() => state().operations.get(again.operation?.id ?? "")?.state === "done");
    expect([1, 2, 3].map(onNode)).toEqual([2, 2, 2]);
  });
});
