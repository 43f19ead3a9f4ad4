/** How VMs are placed: settings of the whole cluster, and what the scheduler says of each node. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { labelsSchema } from "./labels.ts";
import { emptySchema, nameSchema, nodeIdSchema, writtenSchema } from "./values.ts";
import { vmSpecSchema } from "./vm-spec.ts";

/** `spread`: VMs over the nodes; `binpack`: as few nodes as will do. */
const strategySchema = z.enum(["spread", "binpack"]);

const overcommitSchema = z.number().min(0.1).max(limits.overcommitMax);
const vcpuOvercommit = overcommitSchema.describe("virtual CPUs that one processor of a node may carry");
const diskOvercommit = overcommitSchema.describe("times the file system of a node that may be promised to disks");

/** What was set; each has a default. */
export const schedulingSchema = z.object({
  strategy: strategySchema.exactOptional(),
  vcpuOvercommit: vcpuOvercommit.exactOptional(),
  diskOvercommit: diskOvercommit.exactOptional(),
});
export type Scheduling = Readonly<z.infer<typeof schedulingSchema>>;

export const schedulingDefaults: Required<Scheduling> = { strategy: "spread", vcpuOvercommit: 16, diskOvercommit: 1 };

const criterionSchema = z.enum(["vms", "load", "image", "affinity", "spread"]);
export type Criterion = z.infer<typeof criterionSchema>;

/** What the scheduler says of one node: why it is no candidate, or how many points it has, and for what. */
const nodeVerdictSchema = z.discriminatedUnion("fits", [
  z.object({ nodeId: nodeIdSchema, fits: z.literal(false), reason: z.string() }),
  z.object({
    nodeId: nodeIdSchema,
    fits: z.literal(true),
    score: z.int(),
    points: z.array(z.object({ criterion: criterionSchema, points: z.int() })),
  }),
]);
export type NodeVerdict = Readonly<z.infer<typeof nodeVerdictSchema>>;

const placementReportSchema = z.object({
  /** Where the VM would be placed; null: nowhere. */
  nodeId: nodeIdSchema.nullable(),
  message: z.string(),
  /** In the order of their points, and then those that do not fit, by id. */
  nodes: z.array(nodeVerdictSchema),
  /** VMs of a lower priority that would be stopped to make room for it. Absent: none. */
  preempts: z.array(nameSchema).exactOptional(),
  /** For how long its node may still run it, as the leader counts. Absent for a VM that does not move without its node. */
  leaseLeftMs: z.int().min(0).exactOptional(),
  /**
   * What becomes of it when its node is lost now: the node on which it would be started (null: it waits for room, and `message` says
   * why), and the longest time from the last word of its node until then, while this leader leads. Absent as `leaseLeftMs`.
   */
  ifLost: z.object({ nodeId: nodeIdSchema.nullable(), message: z.string(), withinMs: z.int().min(0) }).exactOptional(),
});
export type PlacementReport = Readonly<z.infer<typeof placementReportSchema>>;

export const schedulingCommands = {
  "scheduling.set": command({ since: 3, body: schedulingSchema }),
};

const settingsSchema = z.object({
  strategy: strategySchema,
  vcpuOvercommit,
  diskOvercommit,
});

export const schedulingMethods = {
  "scheduling.get": method({
    summary: "how VMs are placed",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/scheduling" }],
    client: { group: "scheduling", name: "get", args: [] },
    request: emptySchema,
    response: settingsSchema,
  }),
  "scheduling.set": method({
    summary: "change how VMs are placed; those that are placed stay where they are",
    since: 3,
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "PATCH", path: "/v1/scheduling" }],
    client: { group: "scheduling", name: "set", args: "request" },
    request: schedulingSchema.strict(),
    response: writtenSchema.extend(settingsSchema.shape),
  }),
  "vm.candidates": method({
    summary: "which nodes could take a VM now, with their points: one that exists, or one that does not yet",
    since: 3,
    place: "leader",
    access: "viewer",
    writes: false,
    http: [{ verb: "POST", path: "/v1/placements" }],
    client: { group: "vms", name: "candidates", args: "request" },
    request: z
      .object({
        /** Of a VM that exists; or `spec`, and `labels`, of one that does not. */
        name: nameSchema.exactOptional(),
        spec: vmSpecSchema.exactOptional(),
        labels: labelsSchema.exactOptional(),
      })
      .strict()
      .refine(({ name, spec }) => (name === undefined) !== (spec === undefined), "give either name or spec"),
    response: placementReportSchema,
  }),
};
