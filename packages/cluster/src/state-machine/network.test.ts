import type { VmCard } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { initBody, sampleNode, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";

let replica: Replica;
const networkId = sampleVmId(7);

const createNetwork = (name = "lan", id = networkId) =>
  replica.apply({ type: "network.create", name, networkId: id, range: "10.1.0.0/24", exclude: [] });
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

  it("is another one than that of the same name before it", () => {
    replica.apply({ type: "network.delete", name: "lan" });
    expect(createVm("web", 1, card())).toMatchObject({ ok: false, code: "NETWORK_NOT_FOUND" });
    createNetwork("lan", sampleVmId(9));
    expect(createVm("web", 1, card())).toMatchObject({ ok: false, code: "NETWORK_NOT_FOUND" });
  });
});
