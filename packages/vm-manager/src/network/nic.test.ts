import { randomUUID } from "node:crypto";
import { vmSpecSchema } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { nicsOf } from "./nic.ts";

const spec = vmSpecSchema.parse({ image: "demo", memoryMiB: 64 });

describe("nicsOf", () => {
  it("gives a VM that names no network a card in user, whose address follows from the VM", () => {
    const vmId = "11111111-2222-4333-8444-555555555555";
    expect(nicsOf({ vmId, spec }, ["user"])).toEqual([
      { network: "user", mac: "b6:c4:48:e9:98:ce", address: "10.0.2.15" },
    ]);
    const macs = Array.from({ length: 200 }, () => nicsOf({ vmId: randomUUID(), spec }, ["user"])[0]?.mac ?? "");
    // Locally administered and unicast.
    expect(macs.filter((mac) => !/^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/.test(mac))).toEqual([]);
    expect(new Set(macs).size).toBe(200);
  });

  it("takes the address that was given, and gives no card for a network that is not here", () => {
    const mac = "02:00:00:00:00:01";
    const vmId = randomUUID();
    const wished = { ...spec, networks: [{ network: "lan" }, { network: "user", mac }] };
    const user = { network: "user", mac, address: "10.0.2.15" };
    expect(nicsOf({ vmId, spec: wished }, ["user"])).toEqual([user]);
    expect(nicsOf({ vmId, spec: wished }, [])).toEqual([]);
    const given = { network: "lan", mac: "02:00:00:00:00:07", address: "10.1.0.2" };
    const cards = [{ ...given, networkId: randomUUID() }];
    expect(nicsOf({ vmId, spec: wished, cards }, ["user", "private"])).toEqual([given, user]);
    expect(nicsOf({ vmId, spec: wished, cards }, ["user"])).toEqual([user]);
    expect(nicsOf({ vmId, spec: { ...spec, networks: [] } }, ["user"])).toEqual([]);
  });
});
