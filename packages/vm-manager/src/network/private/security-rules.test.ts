import { parseIpv4 } from "@blixard/common";
import type { SecurityRule } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { protocols } from "../packet.ts";
import { allows, cardRulesOf } from "./security-rules.ts";

const { tcp, udp, icmp } = protocols;
const sctp = 132;
const web = { address: parseIpv4("10.1.0.2"), peers: ["group:web", "label:app=web"] };
const stranger = { address: parseIpv4("10.1.0.200") };

describe("rules of security groups", () => {
  it.each<[string, SecurityRule, { protocol: number; port: number | undefined }, typeof stranger, boolean]>([
    ["any", { protocol: "any" }, { protocol: sctp, port: undefined }, stranger, true],
    ["a protocol", { protocol: "tcp" }, { protocol: tcp, port: 22 }, stranger, true],
    ["another protocol", { protocol: "tcp" }, { protocol: udp, port: 22 }, stranger, false],
    ["echo", { protocol: "icmp" }, { protocol: icmp, port: undefined }, stranger, true],
    ["echo where TCP is allowed", { protocol: "tcp" }, { protocol: icmp, port: undefined }, stranger, false],
    ["a port", { protocol: "tcp", ports: ["80"] }, { protocol: tcp, port: 80 }, stranger, true],
    ["the port above", { protocol: "tcp", ports: ["80"] }, { protocol: tcp, port: 81 }, stranger, false],
    ["the last of a range", { protocol: "udp", ports: ["1", "5-9"] }, { protocol: udp, port: 9 }, stranger, true],
    ["the one after a range", { protocol: "udp", ports: ["1", "5-9"] }, { protocol: udp, port: 10 }, stranger, false],
    ["a fragment, for all ports", { protocol: "udp" }, { protocol: udp, port: undefined }, stranger, true],
    ["a fragment", { protocol: "udp", ports: ["1-65535"] }, { protocol: udp, port: undefined }, stranger, false],
    ["an address", { protocol: "tcp", peer: "10.1.0.0/25" }, { protocol: tcp, port: 1 }, web, true],
    ["another address", { protocol: "tcp", peer: "10.1.0.0/25" }, { protocol: tcp, port: 1 }, stranger, false],
    ["a group", { protocol: "tcp", peer: "group:web" }, { protocol: tcp, port: 1 }, web, true],
    ["none of the group", { protocol: "tcp", peer: "group:web" }, { protocol: tcp, port: 1 }, stranger, false],
    ["a label", { protocol: "tcp", peer: "label:app=web" }, { protocol: tcp, port: 1 }, web, true],
    ["another label", { protocol: "tcp", peer: "label:app=we" }, { protocol: tcp, port: 1 }, web, false],
  ])("judge %s", (_, rule, begins, other, expected) => {
    const rules = cardRulesOf(["own"], [{ name: "own", in: [rule], out: [] }]);
    expect([allows(rules.in, begins, other), allows(rules.out, begins, other)]).toEqual([expected, false]);
  });

  it("add up over the groups of a card, and a group that is not known adds nothing", () => {
    const groups = [
      { name: "a", in: [{ protocol: "tcp", ports: ["80"] }], out: [] },
      { name: "b", in: [{ protocol: "tcp", ports: ["81"] }], out: [] },
      { name: "c", in: [{ protocol: "any" }], out: [] },
    ] as const;
    const ports = (...names: string[]) =>
      [80, 81, 82].filter((port) => allows(cardRulesOf(names, groups as never).in, { protocol: tcp, port }, stranger));
    expect([ports("a"), ports("a", "b"), ports("gone"), ports()]).toEqual([[80], [80, 81], [], []]);
  });
});
