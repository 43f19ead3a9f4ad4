import { networkInterfaces } from "node:os";
import { isInRange, parseIpv4 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { HostAddresses, parseLocalRanges } from "./host-addresses.ts";

/** As the kernel writes it: a bridge that is down, and a range that is routed to the machine. */
const table = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 172.17.0.0/30 2 0 2
        |-- 172.17.0.0
           /16 link UNICAST
        |-- 172.17.0.1
           /32 host LOCAL
     |-- 172.17.255.255
        /32 link BROADCAST
     |-- 198.51.100.0
        /24 host LOCAL
     |-- 203.0.113.0
        /24 link UNICAST
`;

describe("HostAddresses", () => {
  it.each([
    ["172.17.0.1", true],
    ["172.17.255.255", true],
    ["172.17.0.2", false],
    ["198.51.100.200", true],
    ["203.0.113.1", false],
    ["8.8.8.8", false],
  ])("reads from the routes of the kernel whether %s is its own: %s", (address, own) => {
    expect(parseLocalRanges(table).some((range) => isInRange(parseIpv4(address), range))).toBe(own);
  });

  it("knows every address of this machine", () => {
    const own = new HostAddresses(() => performance.now());
    const present = Object.values(networkInterfaces()).flatMap((all = []) => all);
    const missed = present.filter(({ family, address }) => family === "IPv4" && !own.has(parseIpv4(address)));
    expect({ known: own.areKnown, missed }).toEqual({ known: true, missed: [] });
    expect(own.has(parseIpv4("203.0.113.9"))).toBe(false);
  });

  it("takes every address for one of this machine where the kernel does not say", () => {
    for (const path of ["/nonexistent", "/dev/null"]) {
      const own = new HostAddresses(() => 0, path);
      expect([own.areKnown, own.has(parseIpv4("203.0.113.9"))]).toEqual([false, true]);
    }
  });
});
