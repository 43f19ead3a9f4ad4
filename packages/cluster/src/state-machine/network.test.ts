import type { VmCard } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { initBody, sampleNode, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";
import { freeAddress, networkViews } from "./vm-cards.ts";

let replica: Replica;
const networkId = sampleVmId(7);

const createNetwork = (name = "lan", id = networkId) =>
  replica.apply({ type: "network.create", name, networkId: id, range: "10.1.0.0/24", exclude: [] });
const written = { createdUnixMs: 0, createdIndex: 1, updatedIndex: 1 };
const card = (more: Partial<VmCard> = {}): VmCard => ({
  ...{ network: "lan", networkId, address: "10.1.0.2", mac: "02:00:00:00:00:01" },
  ...more,
});
const createVm = (name: string, number: number, ...cards: VmCard[]) =>
  replica.apply({
    ...{ type: "vm.create", name, vmId: sampleVmId(number), spec: sampleSpec(), node: 2, desired: "running" },
    ...{ placement: "", cards },
  });

beforeEach(() => {
  replica = new Replica();
  replica.apply(initBody);
  replica.apply({ type: "node.admit", node: sampleNode(2, { featureLevel: 3 }), ticketId: null });
  createNetwork();
});

describe("networkViews", () => {
  it("counts what freeAddress gives out before it gives no more, whatever is excluded and taken", () => {
    const rangeWithin = fc
      .tuple(fc.nat(63), fc.integer({ min: 26, max: 32 }))
      .map(([offset, length]) => `10.1.0.${offset & ~(2 ** (32 - length) - 1)}/${length}`);
    const taken = fc.uniqueArray(fc.integer({ min: 2, max: 62 }).map((part) => `10.1.0.${part}`));
    fc.assert(
      fc.property(fc.array(rangeWithin, { maxLength: 4 }), taken, (exclude, addresses) => {
        const network = { ...{ name: "lan", networkId, range: "10.1.0.0/26", exclude }, ...written };
        const vms = addresses.map((address) => ({ cards: [card({ address }), card({ networkId: sampleVmId(8) })] }));
        const given = new Set(addresses);
        for (let next = freeAddress(network, given); next !== undefined; next = freeAddress(network, given))
          given.add(next);
        const freeAddresses = given.size - addresses.length;
        expect(networkViews([network], vms)).toEqual([{ ...network, vms: addresses.length, freeAddresses }]);
      }),
    );
  });
});

describe("a private network", () => {
  it("has a name and an id of its own", () => {
    expect(createNetwork()).toMatchObject({ ok: false, code: "ALREADY_EXISTS" });
    expect(createNetwork("other")).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(createNetwork("other", sampleVmId(8))).toMatchObject({ ok: true });
  });

  it("is not deleted while a VM is in it, running or not", () => {
    createVm("web", 1, card());
    expect(replica.apply({ type: "network.delete", name: "lan" })).toMatchObject({
      ok: false,
      code: "CONFLICT",
      message: "the VM web is in the network lan",
    });
    replica.apply({ type: "vm.desire", name: "web", desired: "stopped", newEpoch: false });
    expect(replica.apply({ type: "network.delete", name: "lan" })).toMatchObject({ ok: false, code: "CONFLICT" });
    replica.apply({ type: "vm.purge", name: "web" });
    expect(replica.apply({ type: "network.delete", name: "lan" })).toMatchObject({ ok: true });
    expect(replica.state.networks.size).toBe(0);
    expect(replica.apply({ type: "network.delete", name: "lan" })).toMatchObject({ code: "NETWORK_NOT_FOUND" });
  });

  it("gives each of its addresses and hardware addresses to one card", () => {
    expect(createVm("web", 1, card())).toMatchObject({ ok: true, value: { vm: { cards: [card()] } } });
    const taken = { ok: false, code: "CONFLICT", message: expect.stringContaining("the VM web has the") };
    expect(createVm("db", 2, card({ mac: "02:00:00:00:00:02" }))).toMatchObject(taken);
    expect(createVm("db", 2, card({ address: "10.1.0.3" }))).toMatchObject(taken);
    for (const address of ["10.1.0.0", "10.1.0.1", "10.1.0.255", "10.2.0.2"]) {
      expect(createVm("db", 2, card({ address, mac: "02:00:00:00:00:02" }))).toMatchObject({ code: "CONFLICT" });
    }
    expect(createVm("db", 2, card({ address: "10.1.0.254", mac: "02:00:00:00:00:02" }))).toMatchObject({ ok: true });
  });

  it("gives cards in a bridge no address, and no card what its network does not have", () => {
    const officeId = sampleVmId(9);
    const office = { name: "office", networkId: officeId, bridge: "br0" };
    replica.apply({ type: "network.create", ...office, exclude: [] });
    expect(replica.state.networks.get("office")).not.toHaveProperty("range");
    const { address: _, ...bare } = card({ network: "office", networkId: officeId });
    const plugged = { ...bare, bridge: "br0" };
    for (const wrong of [bare, { ...plugged, bridge: "br1" }, { ...plugged, address: "10.1.0.2" }]) {
      expect(createVm("web", 1, wrong)).toMatchObject({
        code: "CONFLICT",
        message: expect.stringContaining("not one of it"),
      });
    }
    const { address: __, ...unaddressed } = card();
    for (const wrong of [unaddressed, { ...card(), bridge: "br0" }, { ...unaddressed, bridge: "br0" }]) {
      expect(createVm("web", 1, wrong)).toMatchObject({ code: "CONFLICT" });
    }
    expect(createVm("web", 1, plugged)).toMatchObject({ ok: true });
    expect(createVm("db", 2, { ...plugged, mac: "02:00:00:00:00:02" })).toMatchObject({ ok: true });
    expect(createVm("mail", 3, plugged)).toMatchObject({ message: expect.stringContaining("the VM web has the MAC") });
    const record = { ...office, exclude: [], ...written };
    expect(networkViews([record], replica.state.vms.values())).toEqual([{ ...record, vms: 2 }]);
  });

  it("gives a card the address of IPv6 that follows from its MAC address, where it carries IPv6, and no other", () => {
    const sixId = sampleVmId(9);
    const six = { name: "six", networkId: sixId, range: "10.1.0.0/24", range6: "fd00:1::/64" };
    replica.apply({ type: "network.create", ...six, exclude: [] });
    expect(replica.state.networks.get("six")).toMatchObject({ range6: "fd00:1::/64" });
    const own = card({ network: "six", networkId: sixId, address6: "fd00:1::ff:fe00:1" });
    expect(createVm("web", 1, card({ address6: "fd00:1::ff:fe00:1" }))).toMatchObject({ code: "CONFLICT" });
    expect(createVm("web", 1, { ...own, address6: "fd00:1::ff:fe00:2" })).toMatchObject({ code: "CONFLICT" });
    expect(createVm("web", 1, card({ network: "six", networkId: sixId }))).toMatchObject({ code: "CONFLICT" });
    expect(createVm("web", 1, own)).toMatchObject({ ok: true, value: { vm: { cards: [own] } } });
  });

  it("is another one than that of the same name before it", () => {
    replica.apply({ type: "network.delete", name: "lan" });
    expect(createVm("web", 1, card())).toMatchObject({ ok: false, code: "NETWORK_NOT_FOUND" });
    createNetwork("lan", sampleVmId(9));
    expect(createVm("web", 1, card())).toMatchObject({ ok: false, code: "NETWORK_NOT_FOUND" });
  });
});
