/**
 * Networks that have records. A private one is a range of addresses and the VMs that have a card in it, on whatever nodes they are.
 * One with a bridge is what stands behind the Linux bridge of that name on each node that offers it: its addresses are given, and
 * its frames kept apart, by whoever keeps that. The network `user` of each VM is built in, and has no record.
 */
import {
  eui64AddressOf,
  formatIpv6,
  type Ipv4Range,
  isInRange,
  parseIpv4,
  parseIpv4Range,
  parseIpv6Network,
} from "@blixard/common";
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { listSchema, pageSchema } from "./list.ts";
import { bridgeNameSchema, nameSchema, writtenSchema } from "./values.ts";
import { privateNetworks, userNetwork } from "./vm-networks.ts";

const builtIn: readonly string[] = [userNetwork, privateNetworks];
const networkNameSchema = nameSchema.refine((name) => !builtIn.includes(name), {
  message: "is built in, and no name of another network",
});

const rangeMessage = "is no private range of 8 to 65536 addresses, such as 10.1.0.0/24";
const rangeSchema = z.cidrv4(rangeMessage).refine(isPrivateRange, { message: rangeMessage });
const range6Message = "is no range of unique local addresses of IPv6 (RFC 4193) with 64 bits, such as fd00:1::/64";
const range6Schema = z
  .string()
  .max(limits.range6LengthMax)
  .refine((text) => parseIpv6Network(text)?.startsWith("fd") === true, { message: range6Message });

const excludeSchema = z
  .array(z.cidrv4("is no range of IPv4 addresses, such as 10.1.0.0/28"))
  .max(limits.networkExcludesMax);

export const networkRecordSchema = z.object({
  name: nameSchema,
  /** Another one than that of a network of the same name before it: what carries frames tells networks apart by it. */
  networkId: z.uuid(),
  /** Absent for one with a bridge. */
  range: rangeSchema.exactOptional(),
  /** Addresses that a VM gets only when somebody names them. */
  exclude: excludeSchema,
  /** The Linux bridge that its cards are plugged in, on their nodes. Absent: it is private. */
  bridge: bridgeNameSchema.exactOptional(),
  /** Of IPv6: each card has the address in it that follows from its MAC address. Absent: the network carries none. */
  range6: range6Schema.exactOptional(),
  createdUnixMs: z.int().min(0),
  createdIndex: z.int().min(0),
  updatedIndex: z.int().min(0),
});
export type NetworkRecord = Readonly<z.infer<typeof networkRecordSchema>>;
/** One whose addresses the cluster gives. */
export type PrivateNetwork = NetworkRecord & { readonly range: string };

const networkViewSchema = networkRecordSchema.extend({
  /** That are in it, each by one card. */
  vms: z.int().min(0),
  /** Addresses that a VM gets which names none. Absent for one with a bridge. */
  freeAddresses: z.int().min(0).exactOptional(),
});
export type NetworkView = Readonly<z.infer<typeof networkViewSchema>>;

export const networkCommands = {
  "network.create": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({
      name: nameSchema,
      networkId: z.uuid(),
      range: rangeSchema.exactOptional(),
      exclude: excludeSchema,
      bridge: bridgeNameSchema.exactOptional(),
      range6: range6Schema.exactOptional(),
    }),
  }),
  "network.delete": command({ since: 3, subject: ({ name }) => name, body: z.object({ name: nameSchema }) }),
};

const byName = z.object({ name: nameSchema }).strict();
const networkWritten = writtenSchema.extend({ network: networkRecordSchema });

export const networkMethods = {
  "network.list": method({
    summary: "all networks that have records",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/networks" }],
    client: { group: "networks", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(networkViewSchema),
  }),
  "network.get": method({
    summary: "one network",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/networks/{name}" }],
    client: { group: "networks", name: "get", args: ["name"] },
    request: byName,
    response: networkViewSchema,
  }),
  "network.create": method({
    summary: "make a private network, which VMs on all nodes can be in, or name one behind bridges of nodes",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/networks", successStatus: 201, merged: "network" }],
    client: { group: "networks", name: "create", args: "request" },
    request: z
      .object({
        name: networkNameSchema,
        range: rangeSchema.exactOptional(),
        exclude: excludeSchema.default([]),
        bridge: bridgeNameSchema.exactOptional(),
        range6: range6Schema.exactOptional(),
      })
      .strict()
      .refine(({ range, range6 }) => range !== undefined || range6 === undefined, {
        path: ["range6"],
        message: "goes beside a range of IPv4 addresses",
      })
      .refine(({ range, bridge }) => (range === undefined) !== (bridge === undefined), {
        path: ["range"],
        message: "a network has either a range of addresses or a bridge, whose addresses are not the cluster's to give",
      })
      .refine(({ range, exclude }) => exclude.every((each) => range !== undefined && isWithin(each, range)), {
        path: ["exclude"],
        message: "is not in the range of the network",
      }),
    response: networkWritten,
  }),
  "network.delete": method({
    summary: "delete a network that no VM is in",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "DELETE", path: "/v1/networks/{name}", merged: "network" }],
    client: { group: "networks", name: "delete", args: ["name"] },
    request: byName,
    response: networkWritten,
  }),
};

const privateRanges = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(parseIpv4Range);

function isPrivateRange(text: string): boolean {
  const [address = "", length = ""] = text.split("/");
  const { base } = parseIpv4Range(text);
  // The first address of the range stands for it, so that one range has one name.
  const isExact = base === parseIpv4(address);
  return isExact && Number(length) >= 16 && Number(length) <= 29 && privateRanges.some((each) => isInRange(base, each));
}

function isWithin(inner: string, outer: string): boolean {
  const [one, other] = [parseIpv4Range(inner), parseIpv4Range(outer)];
  return one.mask >= other.mask && isInRange(one.base, other);
}

export function isPrivate(network: NetworkRecord): network is PrivateNetwork {
  return network.range !== undefined;
}

/** The addresses of a private network by what they are for. */
export interface NetworkPlan {
  readonly range: Ipv4Range;
  /** Of the switch, which gives addresses and answers names. */
  readonly server: number;
  /** Cards have those from the first to the last. */
  readonly first: number;
  readonly last: number;
}

export function networkPlanOf({ range: text }: Pick<PrivateNetwork, "range">): NetworkPlan {
  const range = parseIpv4Range(text);
  const last = range.base + (~range.mask >>> 0) - 1;
  return { range, server: range.base + 1, first: range.base + 2, last };
}

/** The address of IPv6 that a card has in a network: a guest gives it itself (SLAAC), without a word about it. */
export function address6Of({ range6 }: Pick<NetworkRecord, "range6">, mac: string): string | undefined {
  const network = range6 === undefined ? undefined : parseIpv6Network(range6);
  return network === undefined ? undefined : formatIpv6(eui64AddressOf(network, mac));
}
