import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup } from "./testing/cluster-group.ts";

const spec = { memoryMiB: 64, image: "demo", disks: [{ name: "data", volume: "db" }] };

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup();
  await group.form(3);
});
afterEach(async () => {
  await group.close();
});

describe("a VM with a volume", () => {
  it("is placed where its volume is, and nowhere else", async () => {
    await group.call(1, "volume.create", { name: "db", sizeGiB: 1, node: 3 });
    await group.call(1, "node.cordon", { id: 3, cordoned: true });
    await expect(group.call(1, "vm.create", { name: "web", spec, failIfPending: true })).rejects.toMatchObject({
      code: "NO_CAPACITY",
      message: expect.stringContaining("the volume db is on node 3"),
    });
    await group.call(1, "node.cordon", { id: 3, cordoned: false });
    expect(await group.call(1, "vm.create", { name: "web", spec })).toMatchObject({ vm: { node: 3 } });
  });
});
