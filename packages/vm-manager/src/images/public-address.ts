/**
 * Addresses that a node may fetch an image from when somebody asks it to. Everything that is this machine, its links or a
 * private network is refused: there are services there that trust whoever reaches them.
 */
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import { parseIpv4 } from "@blixard/common";
import { HostAddresses } from "../network/host-addresses.ts";

/** IANA's special-purpose registry of IPv4, and multicast. */
const refusedIpv4 = [
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"],
  ...["192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"],
  ...["224.0.0.0/4", "240.0.0.0/4"],
];
/** Global unicast alone is taken, without those ranges of it that hold an IPv4 address, or are for documents. */
const takenIpv6 = ["2000::/3"];
const refusedIpv6 = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

const refused = listOf([
  ...refusedIpv4.map((range) => [range, "ipv4"] as const),
  ...refusedIpv6.map((range) => [range, "ipv6"] as const),
]);
const taken = listOf(takenIpv6.map((range) => [range, "ipv6"] as const));
const ownIpv4 = new HostAddresses(() => performance.now());

/** Whether an address, as a resolver gives it, is one of the public Internet and not of this machine. */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) {
    return !refused.check(address, "ipv4") && !ownIpv4.has(parseIpv4(address));
  }
  if (!isIPv6(address) || address.includes("%")) return false;
  if (!taken.check(address, "ipv6") || refused.check(address, "ipv6")) return false;
  const own = new BlockList();
  for (const links of Object.values(networkInterfaces())) {
    for (const link of links ?? [])
      if (link.family === "IPv6") own.addAddress(link.address.split("%")[0] ?? "", "ipv6");
  }
  return !own.check(address, "ipv6");
}

function listOf(ranges: readonly (readonly [range: string, family: "ipv4" | "ipv6"])[]): BlockList {
  const list = new BlockList();
  for (const [range, family] of ranges) {
    const [network = "", bits = ""] = range.split("/");
    list.addSubnet(network, Number(bits), family);
  }
  return list;
}
