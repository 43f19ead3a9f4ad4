/** Nodes: the machines of the cluster as the replicated state knows them. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { driverCapabilitiesSchema, driverKindSchema } from "./driver.ts";
import { labelKeySchema, labelsSchema, nodeLabelsSchema } from "./labels.ts";
import { listSchema, pageSchema } from "./list.ts";
import {
  addressesSchema,
  bytesSchema,
  endpointIdSchema,
  logPositionSchema,
  nameSchema,
  nodeIdSchema,
  secretIdSchema,
  storeIdSchema,
  writtenSchema,
} from "./values.ts";

/** What a node does: a voter votes and runs VMs, a worker only runs VMs, a witness only votes, a learner only follows. */
export const memberRoleSchema = z.enum(["voter", "learner", "worker", "witness"]);
export type MemberRole = z.infer<typeof memberRoleSchema>;

export const nodeCapacitySchema = z.object({
  vcpus: z.int().min(0),
  memoryMiB: z.int().min(0),
  /** Drivers that were probed and work, best first. */
  drivers: z.array(driverKindSchema).max(driverKindSchema.options.length),
  /** What each of `drivers` can do, in the same order. Absent until every member keeps it, see `publishedCapacity`. */
  capabilities: z
    .array(driverCapabilitiesSchema.extend({ kind: driverKindSchema }))
    .max(driverKindSchema.options.length)
    .meta({ since: 3 })
    .exactOptional(),
  /** The file system of the disks of VMs: its size, and what was free when that was looked at last. */
  disk: z
    .object({ totalMiB: z.int().min(0), freeMiB: z.int().min(0) })
    .meta({ since: 3 })
    .exactOptional(),
});
export type NodeCapacity = z.infer<typeof nodeCapacitySchema>;

/** Names of VMs. */
export const acceptTwoCopiesSchema = z.array(nameSchema).max(limits.vmsMax);

const versionSchema = z.string().max(64);
const featureLevelSchema = z.int().min(1);

/** The key to which a node is changing. Both are its keys until it runs with the next one. */
export const nextKeySchema = z.object({
  endpointId: endpointIdSchema,
  /** Of the entry that made it known. A member that has applied it takes the next key as well. */
  index: z.int().min(0),
});

/** A lease in place of the usual one, and the start of the node that has taken it, or says that it holds nothing of it. */
const longLeaseSchema = z.object({ ms: z.int().min(0).max(limits.longLeaseMsMax), starts: z.int().min(0) });

export const nodeRecordSchema = z.object({
  id: nodeIdSchema,
  name: nameSchema,
  endpointId: endpointIdSchema,
  addresses: addressesSchema,
  role: memberRoleSchema,
  /** Counts how often this id was admitted with an empty store. */
  incarnation: z.int().min(1),
  /** The store that this incarnation lives in. Another one with the same key is a wiped node or a second machine. */
  storeId: storeIdSchema.exactOptional(),
  /** The highest number of starts that the store has reported: an older copy of it cannot show a higher one. */
  starts: z.int().min(1).exactOptional(),
  /** Set while the voter of the incarnation before is still in the Raft configuration; this one waits outside. */
  rejoining: z.literal(true).exactOptional(),
  capacity: nodeCapacitySchema,
  version: versionSchema,
  featureLevel: featureLevelSchema,
  joinedUnixMs: z.int().min(0),
  cordoned: z.boolean(),
  /** Set once when the node is to leave; its record goes when it is out of the Raft configuration. */
  leaving: z.literal(true).exactOptional(),
  /** How often its key was rotated in place. */
  keyNumber: z.int().min(1).meta({ since: 3 }).exactOptional(),
  nextKey: nextKeySchema.meta({ since: 3 }).exactOptional(),
  /** The node was stopped to be started again: its lease lasts so long instead. 0 ms: it does not any more. */
  longLease: longLeaseSchema.meta({ since: 3 }).exactOptional(),
  labels: nodeLabelsSchema.meta({ since: 3 }).exactOptional(),
});
export type NodeRecord = z.infer<typeof nodeRecordSchema>;

/** How the traffic with a member travels. */
export const peerPathSchema = z.enum(["direct", "relay", "self", "none"]);

export const nodeViewSchema = nodeRecordSchema.extend({
  /** What the leader sees: ready, catching-up, or unreachable. */
  state: z.enum(["ready", "catching-up", "unreachable"]),
  vms: z.int(),
  usedMemoryMiB: z.int(),
  usedVcpus: z.int().exactOptional(),
  /** What its disks and volumes may take when they are full. */
  promisedDiskMiB: z.int().exactOptional(),
  /** Its connections with the others as it sees them; absent when it could not be asked. */
  paths: z
    .array(z.object({ to: nodeIdSchema, transport: z.string(), path: peerPathSchema, rttMs: z.number().nullable() }))
    .optional(),
});
export type NodeView = z.infer<typeof nodeViewSchema>;

/** One rotation of the key of a node. */
export const keyChangeSchema = z.object({
  nodeId: nodeIdSchema,
  incarnation: z.int().min(1),
  /** Which rotation of the node it is, from 1. */
  number: z.int().min(1),
  /** The present key. */
  endpointId: endpointIdSchema,
  nextEndpointId: endpointIdSchema,
});
export type KeyChange = Readonly<z.infer<typeof keyChangeSchema>>;

/** An Ed25519 signature as 128 hexadecimal digits. */
const signatureSchema = z.string().regex(/^[0-9a-f]{128}$/);

const unsetSchema = z.array(labelKeySchema).max(limits.labelsMax);

export const nodeCommands = {
  /** Binds node id and key; uses up the ticket, if one is named, in the same step. */
  "node.admit": command({
    since: 1,
    subject: ({ node }) => node.id,
    body: z.object({ node: nodeRecordSchema, ticketId: secretIdSchema.nullable() }),
  }),
  "node.update": command({
    since: 1,
    subject: ({ nodeId }) => nodeId,
    body: z.object({
      nodeId: nodeIdSchema,
      addresses: addressesSchema.exactOptional(),
      capacity: nodeCapacitySchema.exactOptional(),
      version: versionSchema.exactOptional(),
      featureLevel: featureLevelSchema.exactOptional(),
      role: memberRoleSchema.exactOptional(),
      cordoned: z.boolean().exactOptional(),
      /** Set once, by a node that was admitted without it. */
      storeId: storeIdSchema.exactOptional(),
      /** Never goes back. */
      starts: z.int().min(1).exactOptional(),
      /** The incarnation before is out of the Raft configuration: this one may take part. */
      rejoined: z.literal(true).exactOptional(),
      /** The node is to be taken out of the Raft configuration, and then removed. Never taken back. */
      leaving: z.literal(true).exactOptional(),
      /**
       * With `leaving`: refused while other VMs than these are placed on the node. Each of these may run twice, when the
       * node goes on and a person starts it elsewhere.
       */
      acceptTwoCopies: acceptTwoCopiesSchema.meta({ since: 3 }).exactOptional(),
      /** Its lease lasts so long from now on, counted by whoever leads. Ended by a later start only. */
      longLease: longLeaseSchema.meta({ since: 3 }).exactOptional(),
    }),
  }),
  /** What the leader saw of a node for a while; marks the VMs of an unreachable one, and never moves them. */
  "node.liveness": command({
    since: 1,
    subject: ({ nodeId }) => nodeId,
    body: z.object({ nodeId: nodeIdSchema, reachable: z.boolean() }),
  }),
  /** The first half of a rotation: the next key is taken beside the present one. */
  "node.offerKey": command({ since: 3, subject: ({ nodeId }) => nodeId, body: keyChangeSchema }),
  /** The second half, once the node runs with the next key: the one of before is banned. */
  "node.useKey": command({ since: 3, subject: ({ nodeId }) => nodeId, body: keyChangeSchema }),
  /** Labels that the node gets, and those that it loses. */
  "node.label": command({
    since: 3,
    subject: ({ nodeId }) => nodeId,
    body: z.object({ nodeId: nodeIdSchema, set: nodeLabelsSchema, unset: unsetSchema }),
  }),
  "node.remove": command({ since: 1, subject: ({ nodeId }) => nodeId, body: z.object({ nodeId: nodeIdSchema }) }),
};

/** Shows that a claim was made by the node that it is about: see `addressClaimBytes`. */
const claimProofSchema = z
  .object({
    incarnation: z.int().min(1),
    /** Counts the claims of one start. */
    sequence: z.int().min(1),
    /** Of the key of the node. */
    signature: signatureSchema,
  })
  .strict();

/** What each node says of its own addresses, by way of others as well; one of a later start replaces an earlier one. */
const addressClaimsSchema = z
  .array(
    z
      .object({
        nodeId: nodeIdSchema,
        endpointId: endpointIdSchema,
        addresses: addressesSchema,
        starts: z.int().min(0),
        /** Absent from members below its level, which refuse it. Without one a claim counts only from the node itself. */
        proof: claimProofSchema.meta({ since: 3 }).exactOptional(),
      })
      .strict(),
  )
  .max(limits.nodesMax);

export const nodeMethods = {
  "node.list": method({
    summary: "all nodes, as the leader sees them",
    place: "leader",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/nodes" }],
    client: { group: "nodes", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(nodeViewSchema),
  }),
  "node.get": method({
    summary: "one node",
    place: "leader",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/nodes/{id}" }],
    client: { group: "nodes", name: "get", args: ["id"] },
    request: z.object({ id: nodeIdSchema }).strict(),
    response: nodeViewSchema,
  }),
  "node.update": method({
    summary: "what a node says of itself",
    place: "leader",
    access: "node",
    writes: true,
    request: z
      .object({
        nodeId: nodeIdSchema,
        addresses: addressesSchema.optional(),
        capacity: nodeCapacitySchema.optional(),
        version: versionSchema.optional(),
        featureLevel: featureLevelSchema.optional(),
        storeId: storeIdSchema.optional(),
        starts: z.int().min(1).optional(),
      })
      .strict(),
    response: writtenSchema,
  }),
  "node.cordon": method({
    summary: "keep new VMs away from a node, or let them come again",
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "PATCH", path: "/v1/nodes/{id}" }],
    client: { group: "nodes", name: "cordon", args: ["id", "cordoned"] },
    request: z.object({ id: nodeIdSchema, cordoned: z.boolean() }).strict(),
    response: writtenSchema,
  }),
  "node.label": method({
    summary: "give labels to a node, or take them away; what is placed there stays",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "PATCH", path: "/v1/nodes/{id}/labels" }],
    client: { group: "nodes", name: "label", args: "request" },
    request: z.object({ id: nodeIdSchema, set: nodeLabelsSchema.default({}), unset: unsetSchema.default([]) }).strict(),
    response: writtenSchema.extend({ labels: labelsSchema }),
  }),
  "node.rotateKey": method({
    summary: "give a node another key in place; it starts again with it, and the key of before is banned",
    since: 3,
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "POST", path: "/v1/nodes/{id}/rotate-key" }],
    client: { group: "nodes", name: "rotateKey", args: ["id"] },
    request: z.object({ id: nodeIdSchema }).strict(),
    /** The key that the node changes to. It has done so when its record names that key. */
    response: writtenSchema.extend({ nodeId: nodeIdSchema, endpointId: endpointIdSchema }),
  }),
  /** Asked by the leader in the name of who rotates the key: makes the next key, durable, and signs with both. */
  "node.nextKey": method({
    summary: "the key to which a node may change, with what its present key says of it",
    since: 3,
    place: "local",
    access: "admin",
    writes: false,
    request: z
      .object({
        nodeId: nodeIdSchema,
        incarnation: z.int().min(1),
        number: z.int().min(1),
        endpointId: endpointIdSchema,
      })
      .strict(),
    response: z.object({
      nextEndpointId: endpointIdSchema,
      signature: signatureSchema,
      nextSignature: signatureSchema,
    }),
  }),
  /** Told by a node that has started with its next key, which signs. */
  "node.useKey": method({
    summary: "a node runs with its next key",
    since: 3,
    place: "leader",
    access: "node",
    writes: true,
    request: z.object({ change: keyChangeSchema.strict(), signature: signatureSchema }).strict(),
    response: writtenSchema,
  }),
  /**
   * Asked by a node again and again: may VMs run on it that are started elsewhere when it is lost? The leader answers after it
   * has proved, since it was asked, that it still leads. The node counts `leaseMs` from the moment that it asked.
   */
  "node.renewLease": method({
    summary: "a node may run the VMs that move for a while longer",
    since: 3,
    place: "leader",
    access: "node",
    writes: false,
    request: z
      .object({
        nodeId: nodeIdSchema,
        /** Why nothing here would stop the VMs of a node that stands still; absent where its watchdog works. */
        unguarded: z.string().max(256).exactOptional(),
        /**
         * The node is about to be started again, and asks for so long a lease, which stands in its record then. 0 ms: it
         * holds nothing any more of one that an earlier start of it had.
         */
        longLease: longLeaseSchema.exactOptional(),
      })
      .strict(),
    response: z.object({
      /** 0: no lease. */
      leaseMs: z.int().min(0),
      /** The lease begins when the node has applied this entry, and has stopped what is not its own any more. */
      index: z.int().min(0),
    }),
  }),
  /** Asked by a member that starts, of each other one: does my store fit with what you know of me? */
  "node.verify": method({
    summary: "whether a store holds what its node has promised",
    place: "local",
    access: "node",
    writes: false,
    whileStarting: true,
    request: z
      .object({
        nodeId: nodeIdSchema,
        incarnation: z.int().min(1),
        storeId: storeIdSchema,
        starts: z.int().min(1),
        instance: z.int().min(0).optional(),
        term: z.int().min(0),
        lastIndex: z.int().min(0),
        /** Wait for a leader to confirm that the state of the asked node is not an old one. Members below its level refuse it. */
        confirm: z.literal(true).meta({ since: 3 }).exactOptional(),
      })
      .strict(),
    response: z.object({
      /** behind: the store forgot what it promised; other: the node lives in another one; running: it runs already. */
      verdict: z.enum(["fits", "behind", "other", "running"]),
      reason: z.string(),
      /** The leader knows all that was committed: nobody else needs to be asked. */
      leader: z.boolean(),
      /** A leader has confirmed, after the question, that the answer comes from the newest state; absent without `confirm`. */
      current: z.boolean().meta({ since: 3 }).optional(),
      /** With `confirm`: the last entry in the log of the node that answers. */
      lastEntry: logPositionSchema.meta({ since: 3 }).optional(),
      /** With `confirm`: the voters that have refused the store of the node that answers, at its own start. */
      refusedBy: z.array(nodeIdSchema).max(limits.nodesMax).meta({ since: 3 }).optional(),
    }),
  }),
  /** Asked by a member that misses others: where did you hear of members last? It says what it knows itself. */
  "node.addresses": method({
    summary: "where members were heard of last",
    place: "local",
    access: "node",
    writes: false,
    request: z.object({ claims: addressClaimsSchema }).strict(),
    response: z.object({ claims: addressClaimsSchema }),
  }),
  /**
   * Asked by a member whose disk has lost entries of its log, before it takes part. The answer holds those from `from`
   * on that fit into `logReadBytesMax`, one at least, or none; whoever asked checks them.
   */
  "log.read": method({
    summary: "entries of the log, for a member that has lost some",
    place: "local",
    access: "node",
    writes: false,
    request: z.object({ from: z.int().min(1), to: z.int().min(1) }).strict(),
    response: z.object({ entries: bytesSchema }),
  }),
};
