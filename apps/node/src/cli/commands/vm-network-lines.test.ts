import type { CardState, VmRecord, VmSpec } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { networkLines, reachedPortsOf } from "./vm-network-lines.ts";

const card = { network: "lan", networkId: "a", address: "10.1.0.8", mac: "02:00:00:00:00:08" };
const vmWith = (spec: Partial<VmSpec>, more: Partial<VmRecord> = {}) => ({ spec, node: 2, ...more }) as VmRecord;
const addresses = ["192.0.2.2:7000", "[2001:db8::2]:7000", "https://relay.example/"];
const linesOf = (vm: VmRecord, networkCards?: readonly CardState[]) =>
  networkLines(vm, {
    ...(networkCards === undefined ? {} : { networkCards }),
    forwardedPorts: reachedPortsOf(vm, addresses, networkCards),
  });

describe("what vm explain says of networks", () => {
  it("names each card, and whom its frames reach", () => {
    const vm = vmWith({ networks: [{ network: "user", egress: [] }, { network: "lan" }] }, { cards: [card] });
    const user = { network: "user", address: "10.0.2.15", mac: "06:00:00:00:00:01", lanes: [] };
    const lanes = [
      { node: 1, state: "up" },
      { node: 3, state: "idle" },
      { node: 4, state: "down", why: "it refuses" },
    ] as const;
    expect(linesOf(vm, [user, { ...card, lanes: [...lanes] }])).toEqual([
      "network    user 10.0.2.15 06:00:00:00:00:01: out to nothing",
      "network    lan 10.1.0.8 02:00:00:00:00:08: frames pass to node 1; none was sent to node 3 yet; frames do not pass to node 4: it refuses",
    ]);
    expect(linesOf(vm, [user, { ...card, lanes: [] }])[1]).toMatch(/: all VMs in it are on this node$/);
  });

  it("says that a card is not up, and what is known of it all the same", () => {
    const vm = vmWith(
      { networks: [{ network: "user", egress: ["10.9.0.0/16"] }, { network: "lan" }] },
      { cards: [card] },
    );
    expect(linesOf(vm)).toEqual([
      "network    user 10.0.2.15: out to 10.9.0.0/16 alone; it is not up",
      "network    lan 10.1.0.8 02:00:00:00:00:08: it is not up",
    ]);
    expect(linesOf(vmWith({}))).toEqual(["network    user 10.0.2.15: out to everything but its node; it is not up"]);
    expect(linesOf(vmWith({ networks: [] }))).toEqual([]);
  });

  it("says which bridge a card is in, and by which tap of its node while it is up", () => {
    const { address: _, ...bare } = card;
    const office = { ...bare, network: "office", bridge: "br0" };
    const vm = vmWith({ networks: [{ network: "office" }] }, { cards: [office] });
    const { networkId: __, ...shown } = office;
    expect([...linesOf(vm), ...linesOf(vm, [{ ...shown, tap: "bx0123456789", lanes: [] }])]).toEqual([
      "network    office 02:00:00:00:00:08: in the bridge br0, it is not up",
      "network    office 02:00:00:00:00:08: in the bridge br0, by the tap bx0123456789 of its node",
    ]);
  });

  it("says where forwarded ports are reached now", () => {
    const forwards = [
      { port: 8080, to: 80 },
      { port: 53, to: 53, listen: "all", sources: ["10.0.0.0/8"], protocol: "udp" as const },
      { port: 22, to: 22, listen: "192.0.2.77" },
    ];
    const ports = (vm: VmRecord) => linesOf(vm).filter((line) => line.startsWith("forward"));
    expect(ports(vmWith({ forwards }))).toEqual([
      "forward    127.0.0.1:8080 on node 2 itself leads to port 80 of tcp",
      "forward    192.0.2.2:53 (node 2) leads to port 53 of udp, from 10.0.0.0/8",
      "forward    192.0.2.77:22 (node 2) leads to port 22 of tcp",
    ]);
    expect(ports(vmWith({ forwards }, { node: null }))[0]).toBe(
      "forward    to port 80 of tcp, on the node that gets the VM",
    );
  });

  it("says that a port is not open, and why", () => {
    const forwards = [
      { port: 8080, to: 80 },
      { port: 8080, to: 53, protocol: "udp" as const },
      { port: 22, to: 22 },
    ];
    const at = { listen: "127.0.0.1", port: 8080 };
    const states = [
      { ...at, protocol: "tcp", state: "open" },
      { ...at, protocol: "udp", state: "closed", why: "it is taken" },
      { ...at, port: 22, protocol: "tcp", state: "opening" },
    ] as const;
    const user = { network: "user", address: "10.0.2.15", mac: "06:00:00:00:00:01", lanes: [], forwards: [...states] };
    expect(linesOf(vmWith({ forwards }), [user]).slice(1)).toEqual([
      "forward    127.0.0.1:8080 on node 2 itself leads to port 80 of tcp",
      "forward    127.0.0.1:8080 on node 2 itself is not open, and leads nowhere: it is taken",
      "forward    127.0.0.1:22 on node 2 itself leads to port 22 of tcp, when its node has opened it",
    ]);
  });
});
