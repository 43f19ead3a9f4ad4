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

  it("get and lose cards and security groups while they run, network by network", async () => {
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
    // Of two at once none undoes what the other has done.
    const grouped = ["lan", "dmz"].map((network) => ({ network, securityGroups: ["web"] }));
    await Promise.all(grouped.map((network) => set({ networks: [network] })));
    expect(await set({})).toEqual([{ ...grouped[0], address: "10.1.0.9" }, grouped[1]]);
    await Promise.all(grouped.map(({ network }) => set({ networks: [{ network }] })));
    await expect(set({ networks: [{ network: "wan" }] })).rejects.toMatchObject({ code: "NETWORK_NOT_FOUND" });
    await group.call(1, "vm.create", { name: "b", spec: specIn({ network: "lan" }) });
    const taken = group.node(1).state.vms.get("b")?.cards?.[0]?.address;
    const onto = set({ networks: [{ network: "lan", address: taken }] });
    await expect(onto).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("the VM b has") });
    const unknown = [{ network: "lan", securityGroups: ["db"] }];
    await expect(set({ networks: unknown })).rejects.toMatchObject({ code: "SECURITY_GROUP_NOT_FOUND" });

    const cards = () => group.node(1).state.vms.get("a")?.cards ?? [];
    const [lanCard, dmzCard] = cards();
    expect(await set({ networks: [{ network: "lan", address: "10.1.0.8" }] })).toHaveLength(2);
    expect(cards()).toEqual([{ ...lanCard, address: "10.1.0.8" }, dmzCard]);
    for (const [more, code] of [
      [{ unsetNetworks: ["wan"] }, "INVALID_ARGUMENT"],
      [{ unsetNetworks: ["dmz"], spec: { networks: [{ network: "dmz" }] } }, "INVALID_ARGUMENT"],
    ] as const) {
      await expect(set({}, more)).rejects.toMatchObject({ code });
    }
    expect(await set({ networks: [{ network: "user" }] }, { unsetNetworks: ["lan"] })).toEqual([
      { network: "dmz" },
      { network: "user" },
    ]);
    expect(cards()).toEqual([dmzCard]);
    // Its address is free for others, and no network is all that there is of the default.
    await group.call(1, "vm.create", { name: "c", spec: specIn({ network: "lan", address: "10.1.0.8" }) });
    expect(await set(whole, { whole: true })).toBeUndefined();
    expect(group.node(1).state.vms.get("a")).not.toHaveProperty("cards");
    expect(await set({ networks: [{ network: "lan" }] })).toEqual([{ network: "user" }, { network: "lan" }]);
    expect(cards()).toMatchObject([{ network: "lan" }]);
  });

  it("wait for a node that offers the bridge of theirs, and promise nothing that nobody keeps there", async () => {
    await group.call(1, "network.create", { name: "office", bridge: "br0" });
    await group.call(1, "securityGroup.create", { name: "web", in: [{ protocol: "tcp", ports: ["80"] }] });
    const create = (name: string, network: object, more: object = {}) =>
      group.call(1, "vm.create", { name, spec: specIn({ network: "office", ...network }), ...more });
    for (const [wish, why] of [
      [{ address: "10.1.0.9" }, "its addresses are not the cluster's to give"],
      [{ securityGroups: ["web"] }, "security groups would hold nothing there"],
    ] as const) {
      await expect(create("a", wish)).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        message: expect.stringContaining(why),
      });
    }
    const closed = "offers no bridge br0 there, which the network office is (bridges)";
    await expect(create("a", {}, { failIfPending: true })).rejects.toMatchObject({
      code: "NO_CAPACITY",
      message: expect.stringContaining(closed),
    });
    const { vm } = await create("a", { mac: "02:00:00:00:00:07" });
    expect(vm).toMatchObject({ node: null, phase: "Pending", message: expect.stringContaining(closed) });
    expect(vm.cards).toEqual([
      { network: "office", networkId: expect.any(String), mac: "02:00:00:00:00:07", bridge: "br0" },
    ]);
    expect((await group.call(1, "network.get", { name: "office" })).vms).toBe(1);
    for (const place of [
      {},
      { range: "10.1.0.0/24", bridge: "br0" },
      { bridge: "br0,fd=3" },
      { bridge: "br0", exclude: ["10.1.0.0/28"] },
    ]) {
      await expect(group.call(1, "network.create", { name: "other", ...place })).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
      });
    }
  });

  it("have an address of IPv6 where their network carries it, and another one with another card", async () => {
    const create = (name: string, fields: object) => group.call(1, "network.create", { name, ...fields });
    const range = "10.1.0.0/24";
    for (const [fields, why] of [
      [{ bridge: "br0", range6: "fd00:1::/64" }, "goes beside a range of IPv4"],
      ...["fd00:1::/48", "2001:db8::/64", "fd00:1::1/64", "fd00:1::", "10.2.0.0/24"].map(
        (range6) => [{ range, range6 }, "unique local addresses"] as const,
      ),
    ] as const) {
      const message = expect.stringContaining(why);
      await expect(create("six", fields)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message });
    }
    await create("six", { range, range6: "fd00:1::/64" });
    const mac = "02:00:00:00:00:07";
    const { vm } = await group.call(1, "vm.create", { name: "a", spec: specIn({ network: "six", mac }) });
    expect(vm.cards).toMatchObject([{ address: "10.1.0.2", mac, address6: "fd00:1::ff:fe00:7" }]);
    const networks = [{ network: "six", mac: "02:00:00:00:00:08" }];
    const changed = await group.call(1, "vm.set", { name: "a", spec: { networks } });
    expect(changed.vm.cards).toMatchObject([{ address: "10.1.0.2", address6: "fd00:1::ff:fe00:8" }]);
  });

  it("get no card in a bridge while they run", async () => {
    await group.call(1, "network.create", { name: "office", bridge: "br0" });
    await group.call(1, "vm.create", { name: "a", spec: specIn({ network: "user" }) });
    const set = group.call(1, "vm.set", { name: "a", spec: { networks: [{ network: "office" }] }, dryRun: true });
    await expect(set).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("(nicHotplug)") });
  });
});
