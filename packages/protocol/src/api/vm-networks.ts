/**
 * The networks of a VM, one network card for each, and the ports of its node that lead into it. What was not given follows from
 * the VM: it has a card in the network `user`, which leads out through its node.
 */
import { z } from "zod";
import { limits } from "../limits.ts";
import { nameSchema } from "./values.ts";
import { asksPort, type VmHealthCheck } from "./vm-health.ts";

/** Out through the node, and in through the ports that are forwarded. Every VM has one of its own, so all may look alike. */
export const userNetwork = "user";

/** What a driver that connects cards to the switch of its node says for all networks that have records. */
export const privateNetworks = "private";

/** The address of the guest in its network `user`, where none was given. */
export const userAddressDefault = "10.0.2.15";

/** Last parts of the addresses in a network `user` that do not belong to the guest. */
export const userGatewayPart = 2;
export const userResolverPart = 3;

const ipv4Pattern = /^(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$/;
export const ipv4Schema = z.string().regex(ipv4Pattern, "is no IPv4 address");
const macMessage =
  "is no MAC address that a person may give: six pairs of small hexadecimal digits, the second digit 2, 6, a or e";

const rangeSchema = z.cidrv4("is no range of IPv4 addresses");

const vmNetworkSchema = z
  .object({
    network: nameSchema,
    address: ipv4Schema.exactOptional(),
    /** Locally administered and unicast, as the first byte says (IEEE 802). */
    mac: z
      .string()
      .regex(/^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/, macMessage)
      .exactOptional(),
    /** What the guest may begin connections to, out of the network `user`. Absent: everything but its node. Empty: nothing. */
    egress: z.array(rangeSchema).max(limits.vmEgressRangesMax).exactOptional(),
    /** What may pass to and from the card. Absent: everything. */
    securityGroups: z
      .array(nameSchema)
      .min(1)
      .max(limits.vmSecurityGroupsMax)
      .refine(isUnique, "names a group twice")
      .exactOptional(),
  })
  .strict()
  .refine(({ network, egress }) => network === userNetwork || egress === undefined, {
    path: ["egress"],
    message:
      "is of the network user alone: a private network has no way out, and a bridge is not the cluster's to close",
  })
  .refine(({ network, securityGroups }) => network !== userNetwork || securityGroups === undefined, {
    path: ["securityGroups"],
    message: "are of private networks; egress, and the sources of forwarded ports, say what passes in the network user",
  });
export type VmNetwork = Readonly<z.infer<typeof vmNetworkSchema>>;

export const vmNetworksSchema = z
  .array(vmNetworkSchema)
  .max(limits.vmNetworksMax)
  .refine((networks) => new Set(networks.map(({ network }) => network)).size === networks.length, {
    message: "names a network twice",
  })
  .refine((networks) => isUnique(networks.flatMap(({ mac }) => mac ?? [])), { message: "gives a MAC address twice" })
  .refine((networks) => networks.every(isUserAddress), {
    message: "the address in the network user is a private one that ends in 4 to 254, such as 10.0.2.15",
  })
  .meta({ since: 3, description: "its networks, a network card for each (default user)" });

const portSchema = z.int().min(1).max(65_535);

const vmForwardSchema = z
  .object({
    /** Of the node. */
    port: portSchema,
    /** Of the guest. */
    to: portSchema,
    /** Where the node listens: on its loopback addresses (the default), on one address, or on all. */
    listen: z.union([z.enum(["loopback", "all"]), ipv4Schema]).exactOptional(),
    /** Who may connect; absent: everybody who reaches the port. */
    sources: z.array(rangeSchema).min(1).max(limits.vmForwardSourcesMax).exactOptional(),
    /** Absent: tcp. */
    protocol: z.enum(["tcp", "udp"]).meta({ since: 3 }).exactOptional(),
  })
  .strict()
  .refine(({ listen, sources }) => sources === undefined || !isLoopback(listen), {
    path: ["sources"],
    message: "a port on loopback is reached from the node alone",
  });
export type VmForward = Readonly<z.infer<typeof vmForwardSchema>>;

export const vmForwardsSchema = z
  .array(vmForwardSchema)
  .max(limits.vmForwardsMax)
  .refine(
    (forwards) => !forwards.some((one, at) => forwards.slice(0, at).some((other) => forwardsCollide(one, other))),
    {
      message: "a port of the node can lead to one port of the guest only",
    },
  )
  .refine((forwards) => forwards.every((one) => forwards.every((other) => admitAlike(one, other))), {
    message: "all that lead to one port of the guest, but for those on loopback, admit the same sources",
  })
  .meta({ since: 3, description: "ports of its node that lead to ports of the guest, of TCP or UDP" });

/** What a specification says of networks; each may be left out. */
export interface NetworkWishes {
  readonly networks?: readonly VmNetwork[] | undefined;
  readonly forwards?: readonly VmForward[] | undefined;
  readonly health?: readonly VmHealthCheck[] | undefined;
}

/** The networks that a VM has on a node that has networks. */
export function networksOf({ networks }: NetworkWishes): readonly VmNetwork[] {
  return networks ?? [{ network: userNetwork }];
}

/** Through which `vm forward` reaches the VM; undefined when it is not in the network that is asked for, or in none. */
export function forwardNetworkOf(wishes: NetworkWishes, asked: string | undefined): string | undefined {
  const names = networksOf(wishes).map(({ network }) => network);
  const network = asked ?? (names.includes(userNetwork) ? userNetwork : names[0]);
  return network !== undefined && names.includes(network) ? network : undefined;
}

/** The networks that the VM cannot do without: those that somebody gave, and the one that its forwards and checks lead through. */
export function networksAskedFor({ networks, forwards = [], health = [] }: NetworkWishes): readonly string[] {
  if (networks !== undefined) return networks.map(({ network }) => network);
  return forwards.length === 0 && !health.some(asksPort) ? [] : [userNetwork];
}

export const healthWithoutNetwork = "checks of ports lead through the network user, which the VM is not in";

/** False for checks that reach nobody. */
export function healthFits(wishes: NetworkWishes): boolean {
  const { health = [] } = wishes;
  return !health.some(asksPort) || networksOf(wishes).some(({ network }) => network === userNetwork);
}

export const forwardsWithoutNetwork = "ports are forwarded into the network user, which the VM is not in";

/** False for forwards that lead nowhere. */
export function forwardsFit(wishes: NetworkWishes): boolean {
  const { forwards = [] } = wishes;
  return forwards.length === 0 || networksOf(wishes).some(({ network }) => network === userNetwork);
}

/** The address on which the node of the VM listens. */
export function listenAddressOf({ listen = "loopback" }: Pick<VmForward, "listen">): string {
  if (listen === "loopback") return "127.0.0.1";
  return listen === "all" ? "0.0.0.0" : listen;
}

function isUdpForward({ protocol = "tcp" }: Pick<VmForward, "protocol">): boolean {
  return protocol === "udp";
}

/** Whether one node cannot have both. */
export function forwardsCollide(one: VmForward, other: VmForward): boolean {
  if (one.port !== other.port || isUdpForward(one) !== isUdpForward(other)) return false;
  const [a, b] = [listenAddressOf(one), listenAddressOf(other)];
  return a === b || a === "0.0.0.0" || b === "0.0.0.0";
}

function isLoopback(listen: string | undefined): boolean {
  return listen === undefined || listen === "loopback" || listen.startsWith("127.");
}

/** A segment of TCP that comes in shows its port of the guest, and not which port of the node it came through. */
function admitAlike(one: VmForward, other: VmForward): boolean {
  if (isUdpForward(one) || isUdpForward(other)) return true;
  if (one.to !== other.to || isLoopback(one.listen) || isLoopback(other.listen)) return true;
  return String(one.sources ?? []) === String(other.sources ?? []);
}

function isUserAddress({ network, address }: VmNetwork): boolean {
  if (network !== userNetwork || address === undefined) return true;
  const [a = 0, b = 0, , last = 0] = address.split(".").map(Number);
  const isPrivate = a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168);
  return isPrivate && last > userResolverPart && last < 255;
}

function isUnique(values: readonly string[]): boolean {
  return new Set(values).size === values.length;
}
