import { describe, expect, it } from "@jest/globals";
import { judgeVmNetworks, type VmNetworkSituation } from "./check-vm-networks.ts";

const spec = { vcpus: 1, memoryMiB: 64, image: "demo", onPartition: "stop", restartPolicy: "never" } as const;
const driver = { kind: "qemu-tcg", imageFormats: ["linux"], vcpusMax: 8, memoryMiBMax: 1_024 } as const;
const nodeWith = (id: number, networks: string[] | undefined): VmNetworkSituation["nodes"][number] => ({
  id,
  addresses: [`192.0.2.${id}:7000`, "https://relay.example/"],
  capacity: {
    ...{ vcpus: 4, memoryMiB: 4_096, drivers: ["qemu-tcg"] },
    capabilities: [{ ...driver, imageFormats: ["linux"], ...(networks === undefined ? {} : { networks }) }],
  },
});
const networkWith = (vms: number, freeAddresses: number): VmNetworkSituation["networks"][number] => ({
  ...{ name: "lan", networkId: "0198c2a0-0000-7000-8000-000000000001", range: "10.1.0.0/24", exclude: [] },
  ...{ createdUnixMs: 0, createdIndex: 1, updatedIndex: 1, vms, freeAddresses },
});
const web = { name: "web", node: 1, conditions: [] };
const fine: VmNetworkSituation = {
  nodes: [nodeWith(1, ["user", "private"]), nodeWith(2, ["user", "private"]), nodeWith(3, undefined)],
  vms: [{ ...web, spec: { ...spec, forwards: [{ port: 8_080, to: 80 }] } }],
  networks: [networkWith(3, 250)],
  lanes: [{ node: 1, lanes: [{ node: 2, state: "up" }] }],
  systemPorts: [32_768, 60_999],
};
const said = (change: Partial<VmNetworkSituation>) =>
  judgeVmNetworks({ ...fine, ...change }).map(({ check, result, detail, next }) => {
    expect(next === null).toBe(result === "ok");
    return `${result} ${check}: ${detail}`;
  });

describe("judgeVmNetworks", () => {
  it("says in a line that all is well", () => {
    expect(said({})).toEqual(["ok VM networks of the cluster: 1 private, 1 forwarded ports"]);
  });

  it("names a node without passt, and none that gives no network cards anyway", () => {
    expect(said({ nodes: [...fine.nodes, nodeWith(4, ["private"])] })).toEqual([
      "warn VM networks of node 4: VMs there have no network user: no way out, no ports",
    ]);
  });

  it("names a lane that carries nothing, once, and says why", () => {
    const down = { node: 1, lanes: [{ node: 2, state: "down", why: "it refuses" } as const] };
    const idle = { node: 2, lanes: [{ node: 1, state: "idle" } as const] };
    expect(said({ lanes: [down, down, idle] })).toEqual(["warn lane of node 1 to 2: it refuses"]);
  });

  it("names forwarded ports that a node has itself, and those that the system may give away", () => {
    const forwards = [7_000, 32_767, 32_768, 60_999, 61_000].map((port) => ({ port, to: 80 }));
    const found = said({ vms: [{ ...web, spec: { ...spec, forwards } }] });
    expect(found).toEqual([
      expect.stringMatching(/^warn forwarded ports: 7000 of web: a port of a node itself/),
      expect.stringMatching(/^warn forwarded ports: 32768 of web, 60999 of web: between 32768 and 60999/),
    ]);
    expect(said({ vms: [{ ...web, spec: { ...spec, forwards } }], systemPorts: undefined })).toHaveLength(1);
  });

  it("says what nodes say of the networks of their VMs, of a few VMs in full", () => {
    const closed = { type: "Network", status: false, reason: "NetworkDown", message: "the UDP port is taken" };
    const silent = { ...closed, type: "ConsoleOutput" };
    const vmsWith = (count: number) =>
      Array.from({ length: count }, (_, at) => ({ ...web, name: `vm-${at}`, spec, conditions: [silent, closed] }));
    expect(said({ vms: vmsWith(1) })).toEqual(["warn network of VM vm-0: on node 1: the UDP port is taken"]);
    expect(said({ vms: vmsWith(8) }).at(-1)).toBe("warn networks of VMs: 3 more VMs have such");
  });

  it("names a network whose bridge no node offers, and counts those that are offered", () => {
    const { range: _, freeAddresses: __, ...shared } = networkWith(0, 0);
    const office = { ...shared, name: "office", bridge: "br0" };
    expect(said({ networks: [networkWith(3, 250), office] })).toEqual([
      "warn network office: no node offers the bridge br0",
    ]);
    const offers = nodeWith(1, ["user", "private"]);
    const capabilities = (offers.capacity.capabilities ?? []).map((each) => ({ ...each, bridges: ["br0"] }));
    const nodes = [{ ...offers, capacity: { ...offers.capacity, capabilities } }];
    expect(said({ nodes, networks: [networkWith(3, 250), office] })).toEqual([
      "ok VM networks of the cluster: 1 private, 1 bridged, 1 forwarded ports",
    ]);
  });

  it("names a network with few free addresses, by their number or their share", () => {
    for (const [vms, free, isFew] of [
      [2, 4, true],
      [2, 5, false],
      [227, 26, false],
      [228, 25, true],
      [5, 0, true],
    ] as const) {
      const found = said({ networks: [networkWith(vms, free)] });
      expect([vms, free, found[0]?.startsWith("warn network lan: ") === true]).toEqual([vms, free, isFew]);
    }
  });
});
