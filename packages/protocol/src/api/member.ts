/** Members: who takes part in the cluster, and who wants to. */
import { z } from "zod";
import { method } from "./definitions.ts";
import { listSchema, pageSchema } from "./list.ts";
import {
  acceptTwoCopiesSchema,
  memberRoleSchema,
  nodeCapacitySchema,
  nodeRecordSchema,
  peerPathSchema,
} from "./node.ts";
import {
  addressesSchema,
  digestSchema,
  endpointIdSchema,
  logPositionSchema,
  nameSchema,
  nodeIdSchema,
  shownTicketSchema,
  storeIdSchema,
  writtenSchema,
} from "./values.ts";

export const memberStatusSchema = z.object({
  id: nodeIdSchema,
  name: z.string(),
  endpointId: z.string(),
  role: memberRoleSchema,
  addresses: z.array(z.string()),
  /** Known to the leader only; null elsewhere. */
  matchIndex: z.int().nullable(),
  /** What carries the traffic with the member: `iroh`, `grpc`, ... */
  transport: z.string(),
  /** Why it is that one, of a node that has several; null elsewhere, absent in older releases. */
  transportReason: z.string().nullish(),
  path: peerPathSchema,
  /** How bulk data comes from there, once some was fetched, and why not directly; absent in older releases. */
  bulk: z.object({ route: z.enum(["direct", "iroh", "rpc", "none"]), reason: z.string().nullable() }).nullish(),
  rttMs: z.number().nullable(),
  lastContactMs: z.number().nullable(),
  /** Of the session with the member; null for the node itself, and these three are absent in older releases. */
  session: z.string().nullish(),
  queuedMessages: z.int().nullish(),
  lastError: z.string().nullish(),
});
export type MemberStatus = z.infer<typeof memberStatusSchema>;

/** A machine that asked to join without a ticket. */
export const pendingJoinSchema = z.object({
  nodeId: nodeIdSchema,
  name: z.string(),
  /** Its key, which is its fingerprint as well. */
  endpointId: endpointIdSchema,
  addresses: z.array(z.string()),
  version: z.string(),
  firstAskedUnixMs: z.int(),
});
export type PendingJoin = z.infer<typeof pendingJoinSchema>;

/** The level from which a machine that joins without a ticket proves that it is of the same host and user. */
export const provedJoinsSince = 3;

export const memberMethods = {
  "member.list": method({
    summary: "the members, and the connections with them",
    place: "local",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/members" }],
    client: { group: "members", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(memberStatusSchema),
  }),
  "member.remove": method({
    summary: "take a node out of the cluster for good",
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "DELETE", path: "/v1/members/{id}" }],
    client: { group: "members", name: "remove", args: ["id", "force", "acceptTwoCopies"] },
    request: z
      .object({
        id: nodeIdSchema,
        force: z.boolean().default(false),
        acceptTwoCopies: acceptTwoCopiesSchema
          .meta({
            since: 3,
            description:
              "with force: names of the VMs placed on the node, all of them; one may go on running there while it is started elsewhere",
          })
          .optional(),
      })
      .strict(),
    response: writtenSchema,
  }),
  "member.setRole": method({
    summary: "change what a node does in the cluster",
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "PATCH", path: "/v1/members/{id}" }],
    client: { group: "members", name: "setRole", args: ["id", "role", "force"] },
    request: z.object({ id: nodeIdSchema, role: memberRoleSchema, force: z.boolean().default(false) }).strict(),
    response: writtenSchema,
  }),
  /**
   * Asked by a node whose state may be behind, of the voters that it knows: is this a voter? Nobody vouches who has
   * applied less than the one who asks, because the word would be the older one of the two.
   */
  "member.vouch": method({
    summary: "whether a node with this key is a voter",
    place: "local",
    access: "node",
    writes: false,
    request: z.object({ id: nodeIdSchema, endpointId: endpointIdSchema, appliedIndex: z.int().min(0) }).strict(),
    response: z.object({ vouches: z.boolean() }),
  }),
  /** Asked by a node that is not a member yet. `endpointId` must be the one that the connection proved. */
  "join.request": method({
    summary: "admit this machine as a node",
    place: "leader",
    access: "ticket",
    writes: true,
    request: z
      .object({
        /** null when the joiner has only an address: the join policy decides. */
        ticket: shownTicketSchema.nullable(),
        nodeId: nodeIdSchema,
        nodeName: nameSchema.optional(),
        endpointId: endpointIdSchema,
        addresses: addressesSchema,
        capacity: nodeCapacitySchema,
        version: nodeRecordSchema.shape.version,
        featureLevel: nodeRecordSchema.shape.featureLevel,
        /** Another one than before makes a known node a new incarnation, which starts as a learner. */
        storeId: storeIdSchema.optional(),
        starts: z.int().min(1).optional(),
        /** Random for each life of the process. */
        instance: z.int().min(0).optional(),
        /** The joiner's proof that it runs as the user of the node that it asks, on the same machine (`LocalJoins`). */
        localProof: digestSchema.optional(),
        /** Set by the node that was asked and by nobody else: the proof was good. */
        local: z.literal(true).optional(),
        /** Set by the node that was asked, when its own policy wants an operator to accept the machine. */
        approval: z.literal(true).optional(),
      })
      .strict(),
    response: z.object({
      clusterId: z.string(),
      role: memberRoleSchema,
      incarnation: z.int(),
      nodes: z.array(nodeRecordSchema),
      /** The last entry that was applied when this was answered: before that the node takes no part in elections. */
      admission: logPositionSchema.optional(),
    }),
  }),
  "join.list": method({
    summary: "the machines that wait for an operator, as the leader knows them",
    place: "leader",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/joins" }],
    client: { group: "members", name: "pending", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(pendingJoinSchema),
  }),
  "join.accept": method({
    summary: "let a machine in that waits",
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "POST", path: "/v1/joins/{endpointId}" }],
    client: { group: "members", name: "accept", args: ["endpointId", "role"] },
    request: z.object({ endpointId: endpointIdSchema, role: memberRoleSchema.default("voter") }).strict(),
    response: writtenSchema.extend({ nodeId: nodeIdSchema }),
  }),
};
