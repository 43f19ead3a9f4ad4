/** The cluster as a whole: who answers, how it is, who leads. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { featureLevels } from "./feature-level.ts";
import { imageRecordSchema } from "./image.ts";
import { memberStatusSchema } from "./member.ts";
import { memberRoleSchema, nodeRecordSchema } from "./node.ts";
import { quotasSchema } from "./quota.ts";
import { schedulingSchema } from "./scheduling.ts";
import { tokenRecordSchema } from "./token.ts";
import { addressSchema, emptySchema, endpointIdSchema, nodeIdSchema, nodePlacesSchema } from "./values.ts";

export const clusterRecordSchema = z.object({
  clusterId: z.string().min(1).max(64),
  createdUnixMs: z.int().min(0),
  formatVersion: z.literal(1),
  /** How VMs are placed, where that is not the default. */
  scheduling: schedulingSchema.meta({ since: 3 }).exactOptional(),
  quotas: quotasSchema.meta({ since: 3 }).exactOptional(),
});
export type ClusterRecord = Readonly<z.infer<typeof clusterRecordSchema>>;

export const identitySchema = z.object({
  clusterId: z.string(),
  nodeId: nodeIdSchema,
  endpointId: endpointIdSchema,
  addresses: z.array(addressSchema),
  version: z.string(),
  /** What it is in its cluster; absent in older releases, and while it does not know. */
  role: memberRoleSchema.optional(),
  /**
   * Something that has been logged already, for the first attempt of a request to name. It stands still for a while, so that
   * strangers do not learn how much is written. Absent in older releases.
   */
  index: z.int().optional(),
  /** Of a node that is no voter: who serves people and programs instead. */
  voters: nodePlacesSchema.optional(),
});
export type Identity = z.infer<typeof identitySchema>;

export const nodeStatusSchema = z.object({
  clusterId: z.string(),
  nodeId: nodeIdSchema,
  endpointId: z.string(),
  incarnation: z.int(),
  role: z.enum(["leader", "follower", "candidate", "pre-candidate", "learner"]),
  term: z.int(),
  leaderId: z.int().nullable(),
  commitIndex: z.int(),
  appliedIndex: z.int(),
  lastLogIndex: z.int(),
  lastLogTerm: z.int(),
  snapshotIndex: z.int(),
  configIndex: z.int(),
  members: z.array(memberStatusSchema),
  storage: z.object({
    healthy: z.boolean(),
    lastError: z.string().nullable(),
    corruptions: z.int(),
    repairs: z.int(),
    /** The background check of everything that is stored, since the start; absent in older releases. */
    scrub: z.object({ passes: z.int(), checkedBytes: z.int(), lastPassUnixMs: z.int().nullable() }).optional(),
    /** When the node came back by itself without its damaged log, as long as that is kept; absent in older releases. */
    comeback: z.object({ startedUnixMs: z.int(), reason: z.string(), keptIn: z.string() }).optional(),
  }),
  vms: z.object({ total: z.int(), running: z.int() }),
  drivers: z.array(z.string()),
  version: z.string(),
  /** What this node understands. */
  featureLevel: z.int(),
  /** Up to which the cluster uses features, and the members that hold it there; absent in older releases. */
  clusterLevel: z.int().optional(),
  levelHeldBy: z.array(nodeIdSchema).optional(),
  /** Why the node takes no part and serves nothing but this; absent where it does. */
  heldBack: z.string().optional(),
});
export type NodeStatus = z.infer<typeof nodeStatusSchema>;

export const clusterCommands = {
  "cluster.init": command({
    since: 1,
    body: z.object({
      cluster: clusterRecordSchema,
      node: nodeRecordSchema,
      token: tokenRecordSchema,
      images: z.array(imageRecordSchema).max(limits.imagesMax),
    }),
  }),
  /** Proposed when every member understands the level. From then on entries may need it. */
  "cluster.setLevel": command({
    since: 3,
    subject: ({ level }) => level,
    raisesLevelTo: ({ level }) => level,
    body: z.object({ level: z.int().min(1).max(featureLevels.max) }),
  }),
};

export const clusterMethods = {
  "identity.get": method({
    summary: "who answers at this address",
    place: "local",
    access: "anyone",
    writes: false,
    http: [{ verb: "GET", path: "/v1/identity" }],
    request: emptySchema,
    response: identitySchema,
  }),
  "status.get": method({
    summary: "how the node that is asked sees the cluster, at once, with or without a quorum",
    place: "local",
    access: "local",
    writes: false,
    http: [{ verb: "GET", path: "/v1/status" }],
    request: emptySchema,
    response: nodeStatusSchema,
  }),
  "leader.transfer": method({
    summary: "let another voter lead",
    place: "leader",
    access: "admin",
    writes: false,
    http: [{ verb: "POST", path: "/v1/leader/transfer" }],
    client: { group: "cluster", name: "transferLeader", args: ["to"] },
    request: z.object({ to: nodeIdSchema.optional() }).strict(),
    response: z.object({ leaderId: z.int(), term: z.int() }),
  }),
  "snapshot.take": method({
    summary: "let the node that is asked take a snapshot of its state now",
    place: "local",
    access: "admin",
    writes: false,
    http: [{ verb: "POST", path: "/v1/snapshot" }],
    client: { group: "cluster", name: "takeSnapshot", args: [] },
    request: emptySchema,
    response: z.object({ index: z.int() }),
  }),
};
