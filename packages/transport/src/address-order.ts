/**
 * In which order a machine names its addresses. Others keep only the first few of them, and a machine with many bridges, tunnels
 * or containers has more: what the rest of the network can reach has to come first.
 */
import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import type { NetworkInterfaceInfo } from "node:os";

export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/** A way to other networks. */
export interface GatewayRoute {
  readonly interfaceName: string;
  readonly gateway: string;
  /** True for the way to everywhere. */
  readonly isDefault: boolean;
  /** The lowest is taken. */
  readonly metric: number;
}

/**
 * Those of one address family without loopback and link-local ones: first one address of each interface, those with a default
 * route before those with another gateway before the rest, then the second of each, and so on. Of one interface the addresses
 * that share a network with its gateway come first.
 */
export function orderAddresses(
  interfaces: Interfaces,
  family: "IPv4" | "IPv6",
  routes: readonly GatewayRoute[],
): readonly string[] {
  const byUse = [...routes].sort((a, b) => Number(b.isDefault) - Number(a.isDefault) || a.metric - b.metric);
  const rank = (name: string) => {
    const found = byUse.findIndex(({ interfaceName }) => interfaceName === name);
    return found === -1 ? byUse.length : found;
  };
  const lists = Object.entries(interfaces)
    .map(([name, entries]) => ({ name, addresses: usable(entries ?? [], family, byUse[rank(name)]?.gateway) }))
    .sort((a, b) => rank(a.name) - rank(b.name))
    .map(({ addresses }) => addresses);
  const rounds = Math.max(0, ...lists.map(({ length }) => length));
  return Array.from({ length: rounds }, (_, round) => lists.flatMap((list) => list.slice(round, round + 1))).flat();
}

function usable(entries: readonly NetworkInterfaceInfo[], family: string, gateway: string | undefined): string[] {
  return entries
    .filter((entry) => entry.family === family && !entry.internal && !(entry.family === "IPv6" && entry.scopeid !== 0))
    .sort((a, b) => Number(contains(b.cidr, gateway)) - Number(contains(a.cidr, gateway)))
    .map(({ address }) => address);
}

function contains(cidr: string | null, gateway: string | undefined): boolean {
  const [network = "", prefix] = cidr?.split("/") ?? [];
  if (gateway === undefined || isIP(gateway) !== isIP(network)) return false;
  const list = new BlockList();
  const family = isIP(network) === 6 ? "ipv6" : "ipv4";
  list.addSubnet(network, Number(prefix), family);
  return list.check(gateway, family);
}

/** The routes over gateways of this machine; none where the system does not tell (it is no Linux). */
export function gatewayRoutes(family: "IPv4" | "IPv6"): readonly GatewayRoute[] {
  const path = family === "IPv4" ? "/proc/net/route" : "/proc/net/ipv6_route";
  try {
    const text = readFileSync(path, "latin1");
    return family === "IPv4" ? parseIpv4Routes(text) : parseIpv6Routes(text);
  } catch {
    return [];
  }
}

/** `/proc/net/route`: numbers are hexadecimal, addresses in the byte order of the machine (procfs(5)). */
export function parseIpv4Routes(text: string): readonly GatewayRoute[] {
  const [, ...lines] = text.split("\n");
  return lines.flatMap((line) => {
    const [interfaceName = "", destination, gateway = "", flags = "", , , metric, mask] = line.split(/\s+/);
    if ((Number.parseInt(flags, 16) & upAndGateway) !== upAndGateway) return [];
    const bytes = gateway.match(/../g)?.map((byte) => Number.parseInt(byte, 16)) ?? [];
    const isDefault = destination === "00000000" && mask === "00000000";
    return [{ interfaceName, gateway: bytes.reverse().join("."), isDefault, metric: Number(metric) }];
  });
}

/** `/proc/net/ipv6_route`: destination, its length, source, its length, next hop, metric, uses, references, flags, interface. */
export function parseIpv6Routes(text: string): readonly GatewayRoute[] {
  return text.split("\n").flatMap((line) => {
    const [destination = "", length, , , hop = "", metric = "", , , flags = "", interfaceName = ""] = line.split(/\s+/);
    if ((Number.parseInt(flags, 16) & upAndGateway) !== upAndGateway) return [];
    const isDefault = /^0+$/.test(destination) && length === "00";
    const gateway = hop.match(/..../g)?.join(":") ?? "";
    return [{ interfaceName, gateway, isDefault, metric: Number.parseInt(metric, 16) }];
  });
}

/** RTF_UP and RTF_GATEWAY of linux/route.h. */
const upAndGateway = 0x3;
