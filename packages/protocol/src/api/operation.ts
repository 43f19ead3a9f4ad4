/**
 * Operations: what takes long and goes on whoever waits for it. The record stands in the replicated state, and the leader
 * drives it by what it sees there, so that the next leader goes on where the last one stopped.
 *
 *     running -- all is done --> done
 *        |------ deadline, or it cannot go on --> failed
 *        '------ somebody takes it back --------> cancelled
 */
import { z } from "zod";
import { limits } from "../limits.ts";
import { actorSchema } from "./access.ts";
import { command, method } from "./definitions.ts";
import { listSchema, pageSchema } from "./list.ts";
import { nameSchema, nodeIdSchema, writtenSchema } from "./values.ts";

/**
 * `node-drain`: the VMs of a node move away or stop. `node-resume`: they come back. `node-evacuate`: those of a lost node
 * move. `vm-stop`, `vm-delete`: a forced wish about a VM of a lost node takes effect. `rebalance`: VMs move to nodes that suit
 * them better. `vm-migrate`: a VM goes to another node, with its disks. `volume-move`: a volume that no VM has goes to another node.
 */
export const operationKindSchema = z.enum([
  "node-drain",
  "node-resume",
  "node-evacuate",
  "vm-stop",
  "vm-delete",
  "rebalance",
  "vm-migrate",
  "volume-move",
]);
export type OperationKind = z.infer<typeof operationKindSchema>;

const operationStateSchema = z.enum(["running", "done", "failed", "cancelled"]);

export const operationIdSchema = z.string().regex(/^[0-9a-f]{12}$/, "use the id that the list of operations shows");

/**
 * How a VM leaves a node: `restart` stops it and starts it on another node, `migrate` takes its disks there before it starts,
 * `stop` only stops it.
 */
export const drainModeSchema = z.enum(["restart", "migrate", "stop"]);
export type DrainMode = z.infer<typeof drainModeSchema>;

/** What was asked of a drain. */
export const drainWishSchema = z.object({
  /** For every VM. Absent: by what each says of the loss of its node and by whether it has data of its own. */
  mode: drainModeSchema.exactOptional(),
  /** For single VMs, before `mode`. */
  vmModes: z.array(z.object({ vm: nameSchema, mode: drainModeSchema }).strict()).max(limits.operationVmsMax),
  /** VMs that are under way at once. */
  parallel: z.int().min(1).max(limits.drainParallelMax),
});
export type DrainWish = Readonly<z.infer<typeof drainWishSchema>>;

/** A VM for which something is waited, or which is left where it is, and why. */
export const waitingVmSchema = z.object({ vm: nameSchema, why: z.string().max(512) });
export type WaitingVm = Readonly<z.infer<typeof waitingVmSchema>>;

const messageSchema = z.string().max(512);
const waitingSchema = z.array(waitingVmSchema).max(limits.operationWaitingMax);
const errorSchema = z.object({ code: z.string().max(64), message: messageSchema });

/** What the leader chooses when an operation on a node starts. */
const startedOperationSchema = z.object({
  id: operationIdSchema,
  kind: operationKindSchema,
  /** Absent: it is about the whole cluster. */
  nodeId: nodeIdSchema.exactOptional(),
  /** Names of the VMs that it was about when it started; of more than the limit the first ones. */
  vms: z.array(nameSchema).max(limits.operationVmsMax),
  drain: drainWishSchema.exactOptional(),
  deadlineUnixMs: z.int().min(0).exactOptional(),
  /** Of a rebalancing: which VM goes from where to where. */
  moves: z
    .array(z.object({ vm: nameSchema, from: nodeIdSchema, to: nodeIdSchema }))
    .max(limits.rebalanceMovesMax)
    .exactOptional(),
  /** The VM of `vm-stop`, `vm-delete` and `vm-migrate`. */
  vmId: z.uuid().exactOptional(),
  /** Where the VM of `vm-migrate`, or the volume of `volume-move`, goes. */
  to: nodeIdSchema.exactOptional(),
  /** The volume of `volume-move`. */
  volume: z.object({ name: nameSchema, volumeId: z.uuid() }).exactOptional(),
});

export const operationRecordSchema = startedOperationSchema.extend({
  /** For people: `node 2`, `VM web`, `volume db`. */
  subject: z.string().max(80),
  /** Of a deletion: the VM runs on without a lease. */
  keepsRunning: z.literal(true).exactOptional(),
  /** Who asked for it. */
  actor: actorSchema,
  state: operationStateSchema,
  percent: z.int().min(0).max(100),
  message: messageSchema,
  waiting: waitingSchema,
  error: errorSchema.exactOptional(),
  startedUnixMs: z.int().min(0),
  updatedUnixMs: z.int().min(0),
  startedIndex: z.int().min(0),
  updatedIndex: z.int().min(0),
});
export type OperationRecord = Readonly<z.infer<typeof operationRecordSchema>>;

export const operationCommands = {
  /** Holds the VM of a migration, cordons the node of a drain, and ends the cordon and the drain of one that is resumed, in the same entry. */
  "operation.start": command({
    since: 3,
    subject: ({ operation }) => `${operation.kind} ${operation.nodeId ?? "cluster"}`,
    body: z.object({ operation: startedOperationSchema }),
  }),
  "operation.progress": command({
    since: 3,
    subject: ({ id }) => id,
    body: z.object({
      id: operationIdSchema,
      percent: operationRecordSchema.shape.percent,
      message: messageSchema,
      waiting: waitingSchema,
    }),
  }),
  /** VMs that the operation holds for a move start again where they are, in the same entry. */
  "operation.end": command({
    since: 3,
    subject: ({ id }) => id,
    body: z.object({
      id: operationIdSchema,
      state: z.enum(["done", "failed", "cancelled"]),
      message: messageSchema,
      /** Absent: as it was. */
      waiting: waitingSchema.exactOptional(),
      error: errorSchema.exactOptional(),
    }),
  }),
};

const byId = z.object({ id: operationIdSchema }).strict();

export const operationMethods = {
  "operation.list": method({
    summary: "all operations that run, and those that ended last",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/operations" }],
    client: { group: "operations", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(operationRecordSchema),
  }),
  "operation.get": method({
    summary: "one operation",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/operations/{id}" }],
    client: { group: "operations", name: "get", args: ["id"] },
    request: byId,
    response: operationRecordSchema,
  }),
  "operation.cancel": method({
    summary: "let an operation go no further; what it has done stays done",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/operations/{id}/cancel", merged: "operation" }],
    client: { group: "operations", name: "cancel", args: ["id"] },
    request: byId,
    response: writtenSchema.extend({ operation: operationRecordSchema }),
  }),
};
