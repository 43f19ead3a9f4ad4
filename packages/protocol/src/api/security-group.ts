/**
 * Security groups: what may pass to and from a network card that names them, in private networks. What no rule allows is dropped, and
 * answers to what was allowed pass. A card without groups takes and sends everything.
 */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { labelKeySchema, labelValueSchema } from "./labels.ts";
import { listSchema, pageSchema } from "./list.ts";
import { nameSchema, writtenSchema } from "./values.ts";

const portMax = 65_535;
const groupPrefix = "group:";
const labelPrefix = "label:";

const portsSchema = z
  .string()
  .regex(/^\d{1,5}(-\d{1,5})?$/, "is no port or range of ports, such as 80 or 8000-8100")
  .refine((text) => {
    const { first, last } = portRangeOf(text);
    return first >= 1 && first <= last && last <= portMax;
  }, `is no range of ports from 1 to ${portMax}`);

const peerSchema = z
  .string()
  .max(limits.securityPeerLengthMax)
  .refine(isPeer, "is no peer: use a range such as 10.1.0.0/24, group:NAME or label:KEY=VALUE");

export const securityRuleSchema = z
  .object({
    protocol: z.enum(["tcp", "udp", "icmp", "any"]),
    /** Of the side that is connected to. Absent: all. */
    ports: z.array(portsSchema).min(1).max(limits.securityRulePortsMax).exactOptional(),
    /** Who the other side is: its address, a group that its card names, or a label of its VM. Absent: whoever is in the network. */
    peer: peerSchema.exactOptional(),
  })
  .strict()
  .refine(({ protocol, ports }) => ports === undefined || protocol === "tcp" || protocol === "udp", {
    path: ["ports"],
    message: "go with tcp and udp only",
  });
export type SecurityRule = Readonly<z.infer<typeof securityRuleSchema>>;

const rulesSchema = z.array(securityRuleSchema).max(limits.securityRulesMax);

export const securityGroupRecordSchema = z.object({
  name: nameSchema,
  /** Of connections that others begin. */
  in: rulesSchema,
  /** Of connections that the guest begins. */
  out: rulesSchema,
  createdUnixMs: z.int().min(0),
  createdIndex: z.int().min(0),
  updatedIndex: z.int().min(0),
});
export type SecurityGroupRecord = Readonly<z.infer<typeof securityGroupRecordSchema>>;

export const securityGroupCommands = {
  "securityGroup.create": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({ name: nameSchema, in: rulesSchema, out: rulesSchema }),
  }),
  /** A direction that is not named keeps its rules. */
  "securityGroup.set": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({ name: nameSchema, in: rulesSchema.exactOptional(), out: rulesSchema.exactOptional() }),
  }),
  "securityGroup.delete": command({ since: 3, subject: ({ name }) => name, body: z.object({ name: nameSchema }) }),
};

const byName = z.object({ name: nameSchema }).strict();
const groupWritten = writtenSchema.extend({ group: securityGroupRecordSchema });

export const securityGroupMethods = {
  "securityGroup.list": method({
    summary: "all security groups",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/security-groups" }],
    client: { group: "securityGroups", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(securityGroupRecordSchema),
  }),
  "securityGroup.get": method({
    summary: "one security group",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/security-groups/{name}" }],
    client: { group: "securityGroups", name: "get", args: ["name"] },
    request: byName,
    response: securityGroupRecordSchema,
  }),
  "securityGroup.create": method({
    summary: "make a security group, which network cards of VMs can name",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/security-groups", successStatus: 201, merged: "group" }],
    client: { group: "securityGroups", name: "create", args: "request" },
    request: z.object({ name: nameSchema, in: rulesSchema.default([]), out: rulesSchema.default([]) }).strict(),
    response: groupWritten,
  }),
  "securityGroup.set": method({
    summary: "replace the rules of a security group, of one direction or both",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "PATCH", path: "/v1/security-groups/{name}", merged: "group" }],
    client: { group: "securityGroups", name: "set", args: "request" },
    request: z
      .object({ name: nameSchema, in: rulesSchema.exactOptional(), out: rulesSchema.exactOptional() })
      .strict()
      .refine((asked) => asked.in !== undefined || asked.out !== undefined, "in or out: one of them is to be given"),
    response: groupWritten,
  }),
  "securityGroup.delete": method({
    summary: "delete a security group that no network card and no other group names",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "DELETE", path: "/v1/security-groups/{name}", merged: "group" }],
    client: { group: "securityGroups", name: "delete", args: ["name"] },
    request: byName,
    response: groupWritten,
  }),
};

/** `80` or `8000-8100` */
export function portRangeOf(text: string): { readonly first: number; readonly last: number } {
  const [first = "", last = first] = text.split("-");
  return { first: Number(first), last: Number(last) };
}

/** As rules name the cards of a group. */
export const groupPeer = (group: string): string => `${groupPrefix}${group}`;
/** As rules name the VMs with a label. */
export const labelPeer = (key: string, value: string): string => `${labelPrefix}${key}=${value}`;

/** Whether a peer is a range of addresses, and no group or label. */
export function isAddressPeer(peer: string): boolean {
  return !peer.startsWith(groupPrefix) && !peer.startsWith(labelPrefix);
}

/** The groups that rules name as peers. */
export function groupsNamedBy(rules: readonly SecurityRule[]): string[] {
  return rules.flatMap(({ peer }) => (peer?.startsWith(groupPrefix) ? [peer.slice(groupPrefix.length)] : []));
}

function isPeer(text: string): boolean {
  if (text.startsWith(groupPrefix)) return nameSchema.safeParse(text.slice(groupPrefix.length)).success;
  if (!text.startsWith(labelPrefix)) return z.cidrv4().safeParse(text).success;
  const [key = "", value, ...more] = text.slice(labelPrefix.length).split("=");
  return more.length === 0 && labelKeySchema.safeParse(key).success && labelValueSchema.safeParse(value).success;
}
