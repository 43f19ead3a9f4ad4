import { describe, expect, it } from "@jest/globals";
import { limits } from "../limits.ts";
import { groupsNamedBy, portRangeOf, securityGroupMethods } from "./security-group.ts";
import { vmNetworksSchema } from "./vm-networks.ts";

const { request } = securityGroupMethods["securityGroup.create"];
const takes = (...rules: unknown[]) => request.safeParse({ name: "web", in: rules }).success;
const tcp = (more: object) => ({ protocol: "tcp", ...more });

describe("rules of security groups", () => {
  it.each([
    tcp({}),
    tcp({ ports: ["80", "8000-8100", "1-65535"] }),
    tcp({ peer: "10.1.0.0/24" }),
    tcp({ peer: "group:web" }),
    tcp({ peer: "label:app=web" }),
    tcp({ peer: "label:blixard.io/tier=" }),
    { protocol: "icmp" },
    { protocol: "any", peer: "0.0.0.0/0" },
  ])("may be %j", (rule) => expect(takes(rule)).toBe(true));

  it.each([
    { protocol: "sctp" },
    { protocol: "icmp", ports: ["8"] },
    { protocol: "any", ports: ["80"] },
    tcp({ ports: [] }),
    ...["0", "65536", "90-80", "80-", "-80", "http", "80,81", " 80"].map((port) => tcp({ ports: [port] })),
    ...["", "10.1.0.0", "10.1.0.0/33", "fd00::/64", "web", "group:", "group:A", "label:app", "label:=web"].map((peer) =>
      tcp({ peer }),
    ),
    ...["label:app=web=db", "group:web\n", `group:${"a".repeat(200)}`].map((peer) => tcp({ peer })),
    tcp({ peers: ["group:web"] }),
  ])("are not %j", (rule) => expect(takes(rule)).toBe(false));

  it("are few", () => {
    const rules = Array.from({ length: limits.securityRulesMax }, () => tcp({}));
    expect([takes(...rules), takes(...rules, tcp({}))]).toEqual([true, false]);
  });

  it("are read", () => {
    expect([portRangeOf("80"), portRangeOf("8000-8100")]).toEqual([
      { first: 80, last: 80 },
      { first: 8_000, last: 8_100 },
    ]);
    const peers = ["group:web", "label:a=b", "10.0.0.0/8"];
    expect(groupsNamedBy(peers.map((peer) => ({ protocol: "any", peer })))).toEqual(["web"]);
  });
});

describe("security groups of a network card", () => {
  it.each([
    [{ network: "lan", securityGroups: ["web", "db"] }, true],
    [{ network: "lan", securityGroups: [] }, false],
    [{ network: "lan", securityGroups: ["web", "web"] }, false],
    [{ network: "user", securityGroups: ["web"] }, false],
    [{ network: "lan", securityGroups: Array.from({ length: 9 }, (_, at) => `g${at}`) }, false],
  ])("%j: %s", (network, expected) => expect(vmNetworksSchema.safeParse([network]).success).toBe(expected));
});
