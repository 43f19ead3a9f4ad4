/** IPv6 in a private network: what the switch answers, what passes, and what nobody says in the name of another. */
import { eui64AddressOf, formatIpv6, parseIpv4, parseIpv6 } from "@blixard/common";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { type Ipv6Wishes, ipv4Frame, ipv6Frame } from "../../testing/frames.ts";
import { lengthBytes, withLength } from "../frame-reader.ts";
import { checksumOf } from "../ipv4-frame.ts";
import { macNumberOf } from "../packet.ts";
import { Fabric, type FabricPort } from "./fabric.ts";
import type { NetworkGroup, NetworkHost } from "./network-table.ts";

const networkId = "11111111-2222-4333-8444-555555555555";
const network6 = "fd00000100000000";
const range = { base: parseIpv4("10.1.0.0"), mask: 0xffff_ff00 };
const hostOf = (name: string, last: number, node: number): NetworkHost => {
  const mac = `02:00:00:00:00:0${last}`;
  const address6 = eui64AddressOf(network6, mac);
  return { name, node, epoch: 1, mac, address: parseIpv4(`10.1.0.${last}`), address6 };
};
const [web, db, far] = [hostOf("web", 2, 1), hostOf("db", 3, 1), hostOf("far", 4, 2)];
const address6 = ({ address6: digits = "" }: NetworkHost) => formatIpv6(digits);
const routerMac = "02:00:00:00:00:02";
const routers = { to: "ff02::2", toMac: "33:33:00:00:00:02" };
const all = { to: "ff02::1", toMac: "33:33:00:00:00:01" };

let fabric: Fabric;
let got: { web: Buffer[]; db: Buffer[]; away: number };
let ports: { web: FabricPort; db: FabricPort };

function know(hosts: readonly NetworkHost[], more: object = { network6 }, ...groups: NetworkGroup[]): void {
  const network = { networkId, name: "lan", range, server: range.base + 1, hosts, groups };
  fabric.setNetworks({ nodeId: 1, networks: [{ ...network, ...more }] });
}

beforeEach(() => {
  got = { web: [], db: [], away: 0 };
  fabric = new Fabric(
    () => {
      got.away++;
      return undefined;
    },
    () => 1_000,
  );
  const portOf = (name: "web" | "db", { mac }: NetworkHost): FabricPort => ({
    config: { type: "private", vm: { pid: 1, startTime: "" }, socketPath: "", mac, networkId, epoch: 1 },
    macNumber: macNumberOf(mac),
    deliver: (frames) => got[name].push(frames.subarray(lengthBytes)) > 0,
    takes: () => false,
  });
  ports = { web: portOf("web", web), db: portOf("db", db) };
  fabric.add(ports.web);
  fabric.add(ports.db);
  know([web, db, far]);
});

const frame = (from: NetworkHost, to: NetworkHost, wishes: Partial<Ipv6Wishes> = {}) =>
  ipv6Frame({ from: address6(from), to: address6(to), mac: from.mac, toMac: to.mac, ...wishes });
const icmp = (hex: string) => ({ content: { protocol: 58, hex } });
const solicits = (target: string | undefined) => icmp(`87${"00".repeat(7)}${target}`);
/** Sends it for web, and tells what was counted. */
const dropped = (bytes: Buffer) => {
  fabric.fromGuest(ports.web, [withLength(bytes)]);
  return Object.entries(fabric.drops).flatMap(([reason, count]) => (count > 0 ? [reason] : []));
};

/** The checksum over what it is over (RFC 8200, section 8.1) is 0 where it is right. */
function isRight(answer: Buffer): boolean {
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(answer.length - 54, 0);
  pseudo.writeUInt8(58, 7);
  return checksumOf(Buffer.concat([answer.subarray(22, 54), pseudo, answer.subarray(54)])) === 0;
}

describe("the switch of a network with IPv6", () => {
  it("tells a guest which network it is in, so that it gives itself the address of its card, and that no router is there", () => {
    fabric.fromGuest(ports.web, [
      withLength(frame(web, web, { ...routers, from: "fe80::1", ...icmp("85".padEnd(16, "0")) })),
    ]);
    const [answer = Buffer.alloc(0)] = got.web;
    expect(answer.toString("hex", 0, 14)).toBe(`${web.mac}${routerMac}86dd`.replaceAll(":", ""));
    expect(formatIpv6(answer.toString("hex", 22, 38))).toBe("fe80::ff:fe00:2");
    expect(formatIpv6(answer.toString("hex", 38, 54))).toBe("fe80::1");
    // Hop limit; type; a router for 0 s; a prefix of 64 bits on the link, for addresses of one's own.
    expect([answer[21], answer[54], answer.readUInt16BE(60), answer[72]]).toEqual([255, 134, 0, 64]);
    expect(answer[73]).toBe(0xc0);
    expect(formatIpv6(answer.toString("hex", 86, 102))).toBe("fd00:1::");
    expect(isRight(answer)).toBe(true);
    expect(got.db).toEqual([]);
  });

  it("says where a neighbour is, on whatever node, and asks nobody", () => {
    for (const host of [db, far]) {
      const question = frame(web, host, {
        to: "ff02::1:ff00:3",
        toMac: "33:33:ff:00:00:03",
        ...solicits(host.address6),
      });
      fabric.fromGuest(ports.web, [withLength(question)]);
      const answer = got.web.pop() ?? Buffer.alloc(0);
      expect(answer[54]).toBe(136);
      expect(answer.toString("hex", 62, 86)).toBe(`${host.address6}0201${host.mac.replaceAll(":", "")}`);
      expect(isRight(answer)).toBe(true);
    }
    expect([got.db.length, got.away]).toEqual([0, 0]);
  });

  it("carries what one card says to another, on this node and on another one, and takes it from there", () => {
    fabric.fromGuest(ports.web, [withLength(frame(web, db)), withLength(frame(web, far))]);
    expect([got.db, got.away]).toEqual([[frame(web, db)], 1]);
    fabric.fromNode(2, [{ networkId, epoch: 1, frame: frame(far, web) }]);
    expect(got.web).toEqual([frame(far, web)]);
    expect(Object.values(fabric.drops).every((count) => count === 0)).toBe(true);
  });

  it.each([
    ["the address of a neighbour", frame(web, db, { from: address6(far) }), "source_address"],
    ["an address that no card has", frame(web, db, { from: "fd00:1::99" }), "source_address"],
    ["an address of its link", frame(web, db, { from: "fe80::2" }), "source_address"],
    ["the card of a neighbour", frame(web, db, { mac: far.mac }), "source_mac"],
    ["the card of one and the address of another", frame(web, db, { to: address6(far) }), "nobody_there"],
    ["a card of nobody", frame(web, db, { toMac: "02:00:00:00:00:99" }), "nobody_there"],
    ["everybody", frame(web, db, { ...all }), "group"],
    ["that it routes", frame(web, db, { ...all, ...icmp("86".padEnd(32, "0")) }), "neighbour"],
    ["that it routes, to one", frame(web, db, icmp("86".padEnd(32, "0"))), "neighbour"],
    ["that another router is better", frame(web, db, icmp("89".padEnd(80, "0"))), "neighbour"],
    [
      "that it has the address of a neighbour",
      frame(web, db, { ...all, ...icmp(`88${"00".repeat(7)}${far.address6}`) }),
      "neighbour",
    ],
    ["that a card asks for routers", frame(web, db, { mac: db.mac, ...icmp("85".padEnd(16, "0")) }), "source_mac"],
    ["which groups it hears", frame(web, db, { ...all, ...icmp("8f".padEnd(16, "0")) }), "group"],
    ["whether its address is free", frame(web, db, { ...all, from: "::", ...solicits(web.address6) }), "group"],
    ["where nobody is", frame(web, db, { ...all, ...solicits(parseIpv6("fd00:1::99")) }), "nobody_there"],
    [
      "something behind another header",
      frame(web, db, { content: { protocol: 0, hex: "3a00000000000000".padEnd(80, "0") } }),
      "not_understood",
    ],
    [
      "that it routes, in a fragment",
      frame(web, db, { ...all, content: { protocol: 44, hex: `3a00000100000001${"86".padEnd(32, "0")}` } }),
      "not_understood",
    ],
    ["what is cut", frame(web, db).subarray(0, 70), "not_understood"],
  ])("lets no guest say in a frame: %s", (_, bytes, reason) => {
    expect(dropped(bytes)).toEqual([reason]);
    expect([got.web, got.db, got.away]).toEqual([[], [], 0]);
  });

  it.each([
    ["the address of a neighbour", frame(far, web, { from: address6(db) }), "source_address"],
    ["the card of a VM of another node", frame(db, web), "not_placed"],
    ["that it routes", frame(far, web, icmp("86".padEnd(32, "0"))), "neighbour"],
    ["a question about a neighbour", frame(far, web, solicits(web.address6)), "neighbour"],
  ])("lets no node say in a frame: %s", (_, bytes, reason) => {
    fabric.fromNode(2, [{ networkId, epoch: 1, frame: bytes }]);
    expect(got.web).toEqual([]);
    expect(fabric.drops[reason]).toBe(1);
  });

  it("carries none where the network has none", () => {
    const { address6: _, ...bare } = web;
    know([bare, db], {});
    expect(dropped(frame(web, db, { ...routers, ...icmp("85".padEnd(16, "0")) }))).toEqual(["not_understood"]);
    know([bare, db]);
    expect(dropped(frame(web, db))).toEqual(["not_understood", "source_address"]);
    expect([got.web, got.db]).toEqual([[], []]);
  });
});

describe("security groups with IPv6", () => {
  const tcp80 = { name: "db", in: [{ protocol: "tcp" as const, ports: ["80"], peer: "10.1.0.2/32" }], out: [] };
  const pings = { protocol: "icmp" as const };
  const grouped = () => know([web, { ...db, groups: ["db"] }, far], { network6 }, tcp80);
  const send = (bytes: Buffer) => {
    const before = got.db.length;
    fabric.fromGuest(ports.web, [withLength(bytes)]);
    return got.db.length > before;
  };
  const answers = (bytes: Buffer) => {
    const before = got.web.length;
    fabric.fromGuest(ports.db, [withLength(bytes)]);
    return got.web.length > before;
  };

  it("let pass what a rule allows of the other card, and the answers to that, and nothing else", () => {
    grouped();
    expect(send(frame(web, db, { ports: [40_000, 81] }))).toBe(false);
    const answer = frame(db, web, { ports: [80, 40_000], ack: true });
    expect(answers(answer)).toBe(false);
    expect(send(frame(web, db))).toBe(true);
    expect(answers(answer)).toBe(true);
    expect(answers(frame(db, web, { ports: [81, 40_000], ack: true }))).toBe(false);
    fabric.fromNode(2, [{ networkId, epoch: 1, frame: frame(far, db) }]);
    expect(fabric.drops).toMatchObject({ no_rule_in: 2, no_rule_out: 2 });
  });

  it("take nothing of IPv6 for an answer to what was asked with IPv4", () => {
    grouped();
    const asked = ipv4Frame({ from: "10.1.0.2", to: "10.1.0.3", mac: web.mac });
    asked.write(db.mac.replaceAll(":", ""), 0, "hex");
    expect(send(asked)).toBe(true);
    expect(answers(frame(db, web, { ports: [80, 40_000], ack: true }))).toBe(false);
  });

  it("know an echo and its answer", () => {
    know([web, { ...db, groups: ["db"] }], { network6 }, { ...tcp80, in: [pings] });
    const echo = (type: string, number: string) => icmp(`${type}000000${number}0001`);
    expect(answers(frame(db, web, echo("81", "0007")))).toBe(false);
    expect(send(frame(web, db, echo("80", "0007")))).toBe(true);
    expect(answers(frame(db, web, echo("81", "0007")))).toBe(true);
    expect(answers(frame(db, web, echo("81", "0008")))).toBe(false);
    expect(answers(frame(db, web, echo("80", "0007")))).toBe(false);
  });
});
