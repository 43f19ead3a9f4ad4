import { describe, expect, it } from "@jest/globals";
import { networksAskedFor, networksOf } from "./vm-networks.ts";
import { type VmSpecInput, vmSpecSchema } from "./vm-spec.ts";

const parse = (more: Partial<VmSpecInput>) => vmSpecSchema.safeParse({ image: "demo", memoryMiB: 64, ...more });
const problemOf = (more: Partial<VmSpecInput>) => {
  const issue = parse(more).error?.issues[0];
  return issue === undefined ? undefined : `${issue.path.join(".")}: ${issue.message}`;
};

describe("the networks of a specification", () => {
  it.each<[Partial<VmSpecInput>]>([
    [{ networks: [] }],
    [{ networks: [{ network: "user", address: "192.168.7.4", mac: "52:54:00:12:34:56" }] }],
    [{ networks: [{ network: "user", egress: ["198.51.100.0/24"] }] }],
    [{ networks: [{ network: "user", egress: [] }] }],
    [
      {
        forwards: [
          { port: 8080, to: 80 },
          { port: 8443, to: 443, listen: "all", sources: ["10.0.0.0/8"] },
        ],
      },
    ],
    [
      {
        forwards: [
          { port: 53, to: 53, listen: "all", sources: ["10.0.0.0/8"] },
          { port: 53, to: 53, listen: "all", protocol: "udp" },
          { port: 54, to: 53, listen: "all", protocol: "udp", sources: ["10.0.0.0/8"] },
        ],
      },
    ],
    [
      {
        forwards: [
          { port: 8080, to: 80, listen: "192.0.2.1" },
          { port: 8080, to: 81, listen: "192.0.2.2" },
        ],
      },
    ],
  ])("may be %j", (more) => {
    expect(parse(more).data).toMatchObject(more);
  });

  it.each<[Partial<VmSpecInput>, string]>([
    [{ networks: [{ network: "user" }, { network: "user" }] }, "networks: names a network twice"],
    [{ networks: [{ network: "lan", egress: [] }] }, "networks.0.egress: is of the network user alone"],
    [{ networks: [{ network: "user", egress: ["10.0.0.1"] }] }, "networks.0.egress.0: is no range"],
    [{ networks: [{ network: "-a" }] }, "networks.0.network: use lower-case letters"],
    [{ networks: [{ network: "user", mac: "01:00:00:00:00:01" }] }, "networks.0.mac: is no MAC address that a person"],
    [{ networks: [{ network: "user", mac: "00:16:3e:00:00:01" }] }, "networks.0.mac: is no MAC address that a person"],
    [{ networks: [{ network: "user", mac: "02:00:00:00:00:01,x=y" }] }, "networks.0.mac: is no MAC address"],
    [{ networks: [{ network: "user", address: "10.0.2" }] }, "networks.0.address: is no IPv4 address"],
    [{ networks: [{ network: "user", address: "010.0.2.15" }] }, "networks.0.address: is no IPv4 address"],
    [
      { networks: [{ network: "user", address: "127.0.0.5" }] },
      "networks: the address in the network user is a private",
    ],
    [
      { networks: [{ network: "user", address: "10.0.2.2" }] },
      "networks: the address in the network user is a private",
    ],
    [{ forwards: [{ port: 0, to: 80 }] }, "forwards.0.port: Too small"],
    [{ forwards: [{ port: 8080, to: 65_536 }] }, "forwards.0.to: Too big"],
    [{ forwards: [{ port: 8080, to: 80, listen: "::1" }] }, "forwards.0.listen: "],
    [{ forwards: [{ port: 8080, to: 80, sources: ["10.0.0.0/8"] }] }, "forwards.0.sources: a port on loopback"],
    [{ forwards: [{ port: 8080, to: 80, listen: "all", sources: ["10.0.0.0"] }] }, "forwards.0.sources.0: is no range"],
    [
      {
        forwards: [
          { port: 8080, to: 80 },
          { port: 8080, to: 81, listen: "all" },
        ],
      },
      "forwards: a port of the node can lead to one port of the guest only",
    ],
    [
      {
        forwards: [
          { port: 8080, to: 80, listen: "all", sources: ["10.0.0.0/8"] },
          { port: 8081, to: 80, listen: "all" },
        ],
      },
      "forwards: all that lead to one port of the guest",
    ],
    [
      {
        forwards: [
          { port: 53, to: 53, protocol: "udp" },
          { port: 53, to: 54, listen: "all", protocol: "udp" },
        ],
      },
      "forwards: a port of the node can lead to one port of the guest only",
    ],
    [{ forwards: [{ port: 53, to: 53, protocol: "sctp" as "udp" }] }, "forwards.0.protocol: "],
    [{ networks: [], forwards: [{ port: 8080, to: 80 }] }, "forwards: ports are forwarded into the network user"],
  ])("is not %j", (more, problem) => {
    expect(problemOf(more)).toContain(problem);
  });

  it("is user where nothing was given, which such a VM can do without unless its ports are forwarded", () => {
    const plain = vmSpecSchema.parse({ image: "demo", memoryMiB: 64 });
    expect([networksOf(plain), networksAskedFor(plain)]).toEqual([[{ network: "user" }], []]);
    expect(networksAskedFor({ forwards: [{ port: 8080, to: 80 }] })).toEqual(["user"]);
    expect(networksAskedFor({ networks: [{ network: "user" }] })).toEqual(["user"]);
    expect([networksOf({ networks: [] }), networksAskedFor({ networks: [] })]).toEqual([[], []]);
  });
});
