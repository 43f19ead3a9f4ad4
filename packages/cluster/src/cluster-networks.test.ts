import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup } from "./testing/cluster-group.ts";

const specIn = (network: object) => ({ memoryMiB: 64, image: "demo", networks: [network] as never });

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup();
  await group.form(3);
});
afterEach(async () => {
  await group.close();
});

describe("VMs in a private network", () => {
  it("get addresses of their own from the leader, also those that are made at once, and keep them", async () => {
    await group.call(1, "network.create", { name: "lan", range: "10.1.0.0/28", exclude: ["10.1.0.0/30"] });
    const create = (name: string, network: object = { network: "lan" }) =>
      group.call(1, "vm.create", { name, spec: specIn(network) });
    const made = await Promise.all(["a", "b", "c"].map((name) => create(name)));
    const addresses = made.flatMap(({ vm }) => vm.cards?.map(({ address }) => address));
    expect(addresses.sort()).toEqual(["10.1.0.4", "10.1.0.5", "10.1.0.6"]);
    expect(await create("d", { network: "lan", address: "10.1.0.3" })).toMatchObject({
      vm: { cards: [{ address: "10.1.0.3", mac: expect.stringMatching(/^.[26ae]/) }] },
    });
    await expect(create("e", { network: "lan", address: "10.1.0.4" })).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(create("e", { network: "lan", address: "10.1.0.1" })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(create("e", { network: "dmz" })).rejects.toMatchObject({ code: "NETWORK_NOT_FOUND" });
    for (let left = 0; left < 8; left++) await create(`more-${left}`);
    await expect(create("e")).rejects.toMatchObject({ code: "NO_CAPACITY" });
    await expect(group.call(1, "network.delete", { name: "lan" })).rejects.toMatchObject({ code: "CONFLICT" });
  });

  it("get and lose security groups while they run, network by network, and nothing else of their cards", async () => {
    await group.call(1, "network.create", { name: "lan", range: "10.1.0.0/24" });
    await group.call(1, "network.create", { name: "dmz", range: "10.2.0.0/24" });
    await group.call(2, "securityGroup.create", { name: "web", in: [{ protocol: "tcp", ports: ["80"] }] });
    const networks = [{ network: "lan", address: "10.1.0.9" }, { network: "dmz" }];
    await group.call(1, "vm.create", { name: "a", spec: { memoryMiB: 64, image: "demo", networks } });
    const set = async (spec: object, more: object = {}) =>
      (await group.call(1, "vm.set", { name: "a", spec, ...more })).vm.spec.networks;
    expect(await set({ networks: [{ network: "dmz", securityGroups: ["web"] }] })).toEqual([
      { network: "lan", address: "10.1.0.9" },
      { network: "dmz", securityGroups: ["web"] },
    ]);
    const whole = { memoryMiB: 64, image: "demo" };
    const lan = { network: "lan", address: "10.1.0.9", securityGroups: ["web"] };
    expect(await set({ ...whole, networks: [lan, { network: "dmz" }] }, { whole: true })).toEqual([
      lan,
      { network: "dmz" },
    ]);
    expect(await set({ networks: [{ network: "lan" }] })).toEqual(networks);
    for (const other of [{ network: "wan" }, { network: "lan", address: "10.1.0.8" }]) {
      await expect(set({ networks: [other] })).rejects.toMatchObject({ code: "UNSUPPORTED" });
    }
    const unknown = [{ network: "lan", securityGroups: ["db"] }];
    await expect(set({ networks: unknown })).rejects.toMatchObject({ code: "SECURITY_GROUP_NOT_FOUND" });
  });
});
