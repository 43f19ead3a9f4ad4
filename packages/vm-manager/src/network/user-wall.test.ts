import { formatIpv4, isInRange, parseIpv4, parseIpv4Range } from "@blixard/common";
import type { VmForward } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { type FrameWishes, guestAddress, guestMac, ipv4Frame } from "../testing/frames.ts";
import { portForwardOf, userAddressesOf } from "./user-network.ts";
import { askedMax, askedMs, askForGateway, flowsMax, UserWall } from "./user-wall.ts";

const addresses = userAddressesOf();
const gateway = "10.0.2.2";
const resolver = "10.0.2.3";
const hostAddress = "192.0.2.2";
const outside = "203.0.113.9";

function wallWith(...forwards: readonly VmForward[]): UserWall {
  const isHostAddress = (address: number) => address === parseIpv4(hostAddress);
  return new UserWall({ mac: guestMac, addresses, forwards: forwards.map(portForwardOf), isHostAddress, nowMs });
}
let time = 0;
const nowMs = () => time;
const out = (wishes: FrameWishes = {}, wall = wallWith()) => wall.letsOut(ipv4Frame(wishes));

describe("UserWall.letsOut", () => {
  it("lets a guest speak with machines outside", () => {
    expect(out()).toBe(true);
    expect(out({ syn: false, ack: true })).toBe(true);
    expect(out({ protocol: "udp", port: 123 })).toBe(true);
    expect(out({ protocol: "icmp" })).toBe(true);
  });

  it.each([
    ["an address of the node", hostAddress],
    ["loopback", "127.0.0.1"],
    ["loopback by another address", "127.9.9.9"],
    ["this machine by no address", "0.0.0.0"],
    ["the gateway", gateway],
    ["a neighbour that is none", "10.0.2.77"],
    ["link-local: the metadata of a cloud", "169.254.169.254"],
    ["a group", "224.0.0.251"],
    ["everybody", "255.255.255.255"],
  ])("drops what is for %s", (_, to) => {
    for (const protocol of ["tcp", "udp", "icmp"] as const) expect(out({ to, protocol })).toBe(false);
    for (const flags of [{ syn: false, ack: true }, { syn: true, ack: true }, { syn: false }]) {
      expect(out({ to, ...flags })).toBe(false);
    }
    expect(out({ to, fragment: 0x2000 })).toBe(false);
    expect(out({ to, fragment: 1 })).toBe(false);
  });

  it("lets nothing past that is for a walled-off address, whatever else a frame says", () => {
    const walled = ["0.0.0.0/8", "10.0.2.0/24", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", `${hostAddress}/32`];
    const frame = fc.uint8Array({ minLength: 0, maxLength: 80 });
    const range = fc.constantFrom(...walled.map(parseIpv4Range));
    fc.assert(
      fc.property(frame, range, fc.nat(), fc.boolean(), (bytes, { base, mask }, offset, honest) => {
        const random = Buffer.from(bytes);
        const destination = (base | (offset & ~mask)) >>> 0;
        if (random.length >= 34) {
          if (honest) ipv4Frame().copy(random, 0, 0, 30);
          random.writeUInt32BE(destination, 30);
        }
        const asksForName = random.length >= 38 && random[23] === 17 && destination === parseIpv4(resolver);
        const isArp = random.length >= 14 && random.readUInt16BE(12) === 0x0806;
        fc.pre(!asksForName && !isArp);
        return !wallWith().letsOut(random);
      }),
      { numRuns: 2_000 },
    );
  });

  it("lets a guest ask for names at its resolver, and for nothing else there", () => {
    expect(out({ to: resolver, protocol: "udp", port: 53 })).toBe(true);
    expect(out({ to: resolver, protocol: "udp", port: 5353 })).toBe(false);
    expect(out({ to: resolver, protocol: "udp", port: 53, fragment: 0x2000 })).toBe(false);
    expect(out({ to: resolver, protocol: "tcp", port: 53 })).toBe(false);
    expect(out({ to: gateway, protocol: "udp", port: 53 })).toBe(false);
  });

  it("drops what comes from another address or card, in ARP too", () => {
    expect(out({ from: "10.0.2.16" })).toBe(false);
    expect(out({ from: hostAddress })).toBe(false);
    expect(out({ mac: "02:00:00:00:00:0b" })).toBe(false);
    const arp = (mac: string, address: string) => askForGateway(mac, { ...addresses, guest: parseIpv4(address) });
    expect(wallWith().letsOut(arp(guestMac, guestAddress))).toBe(true);
    expect(wallWith().letsOut(arp(guestMac, gateway))).toBe(false);
    expect(wallWith().letsOut(arp("02:00:00:00:00:0b", guestAddress))).toBe(false);
  });

  it("drops IPv6, tags of virtual networks and what is cut", () => {
    const ipv6 = ipv4Frame();
    ipv6.writeUInt16BE(0x86dd, 12);
    const tagged = Buffer.concat([
      ipv4Frame().subarray(0, 12),
      Buffer.from("81000001", "hex"),
      ipv4Frame().subarray(12),
    ]);
    for (const frame of [ipv6, tagged, ipv4Frame().subarray(0, 40), ipv4Frame().subarray(0, 20), Buffer.alloc(0)]) {
      expect(wallWith().letsOut(frame)).toBe(false);
    }
  });
});

describe("UserWall with forwarded ports", () => {
  const answer = (to: string, flags: FrameWishes) => ipv4Frame({ to, sourcePort: 80, port: 50_000, ...flags });
  const from = (source: string, flags: FrameWishes = {}) =>
    ipv4Frame({ from: source, to: guestAddress, sourcePort: 50_000, port: 80, ...flags });

  it.each([
    ["the node itself", gateway],
    ["an address of the node", hostAddress],
  ])("lets the guest answer a connection from %s, and begin none", (_, source) => {
    const wall = wallWith({ port: 8080, to: 80, listen: "all" });
    expect(wall.letsOut(answer(source, { syn: true, ack: true }))).toBe(false);
    expect(wall.letsIn(from(source))).toBe(true);
    expect(wall.letsOut(answer(source, { syn: true }))).toBe(false);
    expect(wall.letsOut(answer(source, { syn: true, ack: true }))).toBe(true);
    expect(wall.letsIn(from(source, { syn: false, ack: true }))).toBe(true);
    expect(wall.letsOut(answer(source, { syn: false, ack: true }))).toBe(true);
    // The connection is open: a second beginning would be one of the guest.
    expect(wall.letsOut(answer(source, { syn: true, ack: true }))).toBe(false);
    expect(wall.letsOut(answer(source, { syn: false, ack: true, port: 50_001 }))).toBe(false);
    expect(wall.letsOut(answer(source, { syn: false, ack: true, sourcePort: 81 }))).toBe(false);
  });

  it("lets only the sources in that a port admits", () => {
    const wall = wallWith({ port: 8080, to: 80, listen: "all", sources: ["203.0.113.0/28"] });
    expect(wall.letsIn(from(outside))).toBe(true);
    expect(wall.letsIn(from("203.0.113.77"))).toBe(false);
    expect(wall.letsIn(from(gateway))).toBe(false);
    expect(wall.letsIn(from(outside, { port: 81 }))).toBe(false);
  });

  it("lets the node alone in through a port on loopback", () => {
    const wall = wallWith({ port: 8080, to: 80 });
    expect(wall.letsIn(from(gateway))).toBe(true);
    expect(wall.letsIn(from(outside))).toBe(false);
  });

  it("lets answers in to what the guest began", () => {
    expect(wallWith().letsIn(from(outside, { syn: true, ack: true }))).toBe(true);
    expect(wallWith().letsIn(from(outside))).toBe(false);
  });

  it("remembers a bounded number of connections", () => {
    const wall = wallWith({ port: 8080, to: 80, listen: "all" });
    for (let port = 1; port <= flowsMax + 1; port++) wall.letsIn(from(gateway, { sourcePort: port }));
    const answers = (port: number) => wall.letsOut(answer(gateway, { port, syn: true, ack: true }));
    expect([answers(1), answers(2), answers(flowsMax + 1)]).toEqual([false, true, true]);
  });
});

describe("UserWall for datagrams", () => {
  const asks = (to: string, more: FrameWishes = {}) => ipv4Frame({ to, protocol: "udp", port: 53, ...more });
  const answers = (from: string, more: FrameWishes = {}) =>
    ipv4Frame({ from, to: guestAddress, protocol: "udp", sourcePort: 53, port: 40_000, ...more });

  it.each([
    ["a machine outside", outside],
    ["its resolver", resolver],
  ])("lets in what comes from %s when it was asked", (_, whom) => {
    const wall = wallWith();
    expect(wall.letsIn(answers(whom))).toBe(false);
    expect(wall.letsOut(asks(whom))).toBe(true);
    expect(wall.letsIn(answers(whom))).toBe(true);
    for (const other of [
      answers("203.0.113.10"),
      answers(whom, { sourcePort: 54 }),
      answers(whom, { port: 40_001 }),
      answers(gateway),
    ]) {
      expect(wall.letsIn(other)).toBe(false);
    }
  });

  it("opens nothing by what may not go out", () => {
    const wall = wallWith();
    for (const frame of [
      asks(hostAddress),
      asks(outside, { from: "10.0.2.16" }),
      asks(outside, { fragment: 0x2000 }),
    ]) {
      wall.letsOut(frame);
    }
    expect([hostAddress, outside].map((source) => wall.letsIn(answers(source)))).toEqual([false, false]);
  });

  it("forgets after a while, and the one that was asked longest ago when there are too many", () => {
    const wall = wallWith();
    time = 0;
    wall.letsOut(asks(outside));
    time = askedMs;
    expect(wall.letsIn(answers(outside))).toBe(true);
    time++;
    expect(wall.letsIn(answers(outside))).toBe(false);
    for (let port = 1; port <= askedMax; port++) wall.letsOut(asks(outside, { sourcePort: port }));
    wall.letsOut(asks(outside, { sourcePort: 1 }));
    wall.letsOut(asks(outside, { sourcePort: askedMax + 1 }));
    const isIn = (port: number) => wall.letsIn(answers(outside, { port }));
    expect([isIn(1), isIn(2), isIn(3), isIn(askedMax + 1)]).toEqual([true, false, true, true]);
  });
});

describe("UserWall with an egress", () => {
  const isHostAddress = (address: number) => address === parseIpv4(hostAddress);
  const wallTo = (...egress: readonly string[]) => {
    const forwards = [portForwardOf({ port: 8080, to: 80, listen: "all" })];
    return new UserWall({ mac: guestMac, addresses, forwards, egress, isHostAddress, nowMs });
  };
  const asked = (to: string) => ipv4Frame({ to, protocol: "udp", port: 53 });

  it("lets the guest reach what is in it, and never its node", () => {
    const wall = wallTo("198.51.100.0/24", `${hostAddress}/32`, "127.0.0.0/8");
    for (const protocol of ["tcp", "udp", "icmp"] as const) {
      expect(out({ to: "198.51.100.7", protocol }, wall)).toBe(true);
      for (const to of [outside, hostAddress, "127.0.0.1", gateway]) expect(out({ to, protocol }, wall)).toBe(false);
    }
    expect(out({ to: outside, syn: false, ack: true }, wall)).toBe(false);
    expect([wall.letsOut(asked(resolver)), wall.leavesNode(asked(resolver))]).toEqual([true, true]);
  });

  it("lets nothing out where it is empty, names neither, and answers what came in", () => {
    const wall = wallTo();
    expect(out({}, wall)).toBe(false);
    expect([wall.letsOut(asked(resolver)), wall.leavesNode(asked(resolver))]).toEqual([true, false]);
    expect(wall.letsOut(asked("9.9.9.9"))).toBe(false);
    const answer = (flags: FrameWishes) => ipv4Frame({ to: outside, sourcePort: 80, port: 50_000, ...flags });
    expect(wall.letsOut(answer({ syn: true, ack: true }))).toBe(false);
    const begin = { from: outside, to: guestAddress, sourcePort: 50_000, port: 80, mac: "02:00:00:00:00:02" };
    expect(wall.letsIn(ipv4Frame(begin))).toBe(true);
    expect(wall.letsOut(answer({ syn: true, ack: true }))).toBe(true);
    expect(wall.leavesNode(answer({ syn: true, ack: true }))).toBe(true);
    expect(wall.letsIn(ipv4Frame({ ...begin, syn: false, ack: true }))).toBe(true);
    expect(wall.letsOut(answer({ syn: false, ack: true }))).toBe(true);
    expect(wall.letsOut(answer({ syn: true }))).toBe(false);
  });
});

describe("addresses", () => {
  it("are in their range and in no other", () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.integer({ min: 0, max: 32 }), (address, length) => {
        const text = formatIpv4(address);
        const bits = (value: number) => value.toString(2).padStart(32, "0").slice(0, length);
        const other = (address ^ 0x5a5a_5a5a) >>> 0;
        const range = parseIpv4Range(`${text}/${length}`);
        return (
          parseIpv4(text) === address &&
          isInRange(address, range) &&
          isInRange(other, range) === (bits(other) === bits(address))
        );
      }),
    );
  });
});
