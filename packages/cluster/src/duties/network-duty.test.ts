import { describe, expect, it } from "@jest/globals";
import { initBody, sampleNode, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";
import { networksOfNode } from "./network-duty.ts";

const networkId = sampleVmId(7);

function replicaWithVms(): Replica {
  const replica = new Replica();
  replica.apply(initBody);
  for (const id of [2, 3])
    replica.apply({ type: "node.admit", node: sampleNode(id, { featureLevel: 3 }), ticketId: null });
  replica.apply({ type: "network.create", name: "lan", networkId, range: "10.1.0.0/24", exclude: [] });
  const rule = (peer: string) => [{ protocol: "tcp" as const, peer }];
  replica.apply({ type: "securityGroup.create", name: "front", in: rule("label:tier=edge"), out: [] });
  replica.apply({ type: "securityGroup.create", name: "back", in: rule("group:front"), out: rule("10.1.0.0/24") });
  const create = (name: string, number: number, node: number, group: string) =>
    replica.apply({
      ...{ type: "vm.create", name, vmId: sampleVmId(number), node, desired: "running", placement: "" },
      spec: sampleSpec({ networks: [{ network: "lan", securityGroups: [group] }] }),
      labels: { app: name, tier: "edge" },
      cards: [{ network: "lan", networkId, address: `10.1.0.${number + 1}`, mac: `02:00:00:00:00:0${number}` }],
    });
  create("web", 1, 2, "front");
  create("db", 2, 3, "back");
  return replica;
}

const told = (replica: Replica, node: number) => {
  const [network] = networksOfNode(replica.state, node).networks;
  return { groups: network?.groups?.map(({ name }) => name), hosts: network?.hosts };
};

describe("what a switch is told of security groups", () => {
  it("are the groups of its own cards, and of all others what the rules of those name", () => {
    const replica = replicaWithVms();
    expect(told(replica, 2)).toMatchObject({
      groups: ["front"],
      hosts: [
        { name: "db", peers: ["label:tier=edge"] },
        { name: "web", groups: ["front"], peers: ["label:tier=edge"] },
      ],
    });
    expect(told(replica, 3).hosts).toEqual([
      expect.objectContaining({ name: "db", groups: ["back"] }),
      expect.objectContaining({ name: "web", peers: ["group:front"] }),
    ]);
    expect(told(replica, 2).hosts?.[0]).not.toHaveProperty("groups");
  });

  it("follows labels", () => {
    const replica = replicaWithVms();
    replica.apply({ type: "vm.set", name: "db", set: {}, unset: [], labels: { tier: "core" }, unsetLabels: [] });
    expect(told(replica, 2).hosts?.[0]).not.toHaveProperty("peers");
  });
});

describe("what a switch is told of networks", () => {
  it("says the addresses of IPv6 of one that carries it", () => {
    const replica = replicaWithVms();
    const place = { networkId: sampleVmId(8), range: "10.2.0.0/24" };
    replica.apply({ type: "network.create", name: "six", ...place, range6: "fd00:1::/64", exclude: [] });
    const six = { network: "six", networkId: place.networkId, address: "10.2.0.2" };
    replica.apply({
      ...{ type: "vm.create", name: "desk", vmId: sampleVmId(3), node: 2, desired: "running", placement: "" },
      ...{ spec: sampleSpec(), cards: [{ ...six, mac: "02:00:00:00:00:03", address6: "fd00:1::ff:fe00:3" }] },
    });
    const [lan, other] = networksOfNode(replica.state, 2).networks;
    expect(lan).not.toHaveProperty("network6");
    expect(lan?.hosts[0]).not.toHaveProperty("address6");
    expect(other).toMatchObject({
      network6: "fd00000100000000",
      hosts: [{ address6: "fd00000100000000000000fffe000003" }],
    });
  });

  it("leaves out those that are bridges, whose frames it does not see", () => {
    const replica = replicaWithVms();
    const office = { networkId: sampleVmId(8), bridge: "br0" };
    replica.apply({ type: "network.create", name: "office", ...office, exclude: [] });
    replica.apply({
      ...{ type: "vm.create", name: "desk", vmId: sampleVmId(3), node: 2, desired: "running", placement: "" },
      ...{ spec: sampleSpec(), cards: [{ network: "office", mac: "02:00:00:00:00:03", ...office }] },
    });
    expect(replica.state.vms.get("desk")?.cards).toHaveLength(1);
    expect(networksOfNode(replica.state, 2).networks.map(({ name }) => name)).toEqual(["lan"]);
  });
});
