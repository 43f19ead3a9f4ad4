import { randomUUID } from "node:crypto";
import { vmSpecSchema } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { nicDeviceArguments, nicSlotId, nicsInArguments, nicsOf, tapNameOf, wantedNics } from "./nic.ts";

const spec = vmSpecSchema.parse({ image: "demo", memoryMiB: 64 });
const nothing = { networks: [], bridges: [] };
const userOnly = { ...nothing, networks: ["user"] };

describe("nicsOf", () => {
  it("gives a VM that names no network a card in user, whose address follows from the VM", () => {
    const vmId = "11111111-2222-4333-8444-555555555555";
    expect(nicsOf({ vmId, spec }, userOnly)).toEqual([
      { network: "user", mac: "b6:c4:48:e9:98:ce", address: "10.0.2.15" },
    ]);
    const macs = Array.from({ length: 200 }, () => nicsOf({ vmId: randomUUID(), spec }, userOnly)[0]?.mac ?? "");
    // Locally administered and unicast.
    expect(macs.filter((mac) => !/^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/.test(mac))).toEqual([]);
    expect(new Set(macs).size).toBe(200);
  });

  it("takes the address that was given, and gives no card for a network that is not here", () => {
    const mac = "02:00:00:00:00:01";
    const vmId = randomUUID();
    const wished = { ...spec, networks: [{ network: "lan" }, { network: "user", mac }] };
    const user = { network: "user", mac, address: "10.0.2.15" };
    expect(nicsOf({ vmId, spec: wished }, userOnly)).toEqual([user]);
    expect(nicsOf({ vmId, spec: wished }, nothing)).toEqual([]);
    const given = { network: "lan", mac: "02:00:00:00:00:07", address: "10.1.0.2" };
    const cards = [{ ...given, networkId: randomUUID() }];
    expect(nicsOf({ vmId, spec: wished, cards }, { networks: ["user", "private"], bridges: [] })).toEqual([
      given,
      user,
    ]);
    expect(nicsOf({ vmId, spec: wished, cards }, userOnly)).toEqual([user]);
    expect(nicsOf({ vmId, spec: { ...spec, networks: [] } }, userOnly)).toEqual([]);
  });

  it("gives a card in a bridge where the node offers that bridge, and it has no address", () => {
    const vmId = randomUUID();
    const [wished, nic] = [
      { ...spec, networks: [{ network: "office" }] },
      { network: "office", mac: "02:00:00:00:00:07", bridge: "br0" },
    ];
    const vm = { vmId, spec: wished, cards: [{ ...nic, networkId: randomUUID() }] };
    expect(nicsOf(vm, { networks: ["user", "private"], bridges: ["br1"] })).toEqual([]);
    expect(nicsOf(vm, { networks: [], bridges: ["br1", "br0"] })).toEqual([nic]);
    // One that the process has stays, whatever the node offers by now.
    expect(wantedNics(vm, nothing, [])).toEqual([]);
    expect(wantedNics(vm, nothing, [nic])).toEqual([nic]);
  });
});

describe("the name of a slot", () => {
  it("says which bridge is behind it, to who has lost the record of the VM too", () => {
    const nic = { network: "office", mac: "02:00:00:00:00:07", bridge: "br0.100" };
    const tapped = nicDeviceArguments(nic, 3, nicSlotId(3, nic.bridge));
    expect(nicsInArguments(tapped)).toEqual([{ ...nic, slot: 3 }]);
    const { bridge: _, ...plain } = nic;
    expect(nicsInArguments(nicDeviceArguments(plain, 3, nicSlotId(3, undefined)))).toEqual([{ ...plain, slot: 3 }]);
    expect(() => nicSlotId(3, "br0,addr=7")).toThrow("characters that are not allowed");
  });
});

describe("tapNameOf", () => {
  it("is one that an interface may have, and another one for each slot and VM", () => {
    const [one, other] = [randomUUID(), randomUUID()];
    const names = [tapNameOf(one, 0), tapNameOf(one, 1), tapNameOf(other, 0)];
    expect(new Set(names).size).toBe(3);
    expect(names.filter((name) => !/^bx[0-9a-f]{10}$/.test(name))).toEqual([]);
  });
});
