/** What is done about the VMs of a node as a whole. Each is an operation, and with `dryRun` only what it would do. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, method } from "./definitions.ts";
import { diskCopySchema } from "./disk-copy.ts";
import { drainModeSchema, drainWishSchema, operationIdSchema, operationRecordSchema } from "./operation.ts";
import { nameSchema, nodeIdSchema, writtenSchema } from "./values.ts";

/** A VM that an operation has stopped, and starts again as it was. */
export const vmHeldSchema = z.object({
  operation: operationIdSchema,
  /** What was wanted of the VM before. */
  desired: z.enum(["running", "paused", "stopped"]),
  /** `move`: it is started on another node. `stay`: it stays stopped until its node is resumed. */
  next: z.enum(["move", "stay"]),
  /** Its disks are copied to this node, which alone may read them. Absent: it leaves no data behind, or stays. */
  to: nodeIdSchema.exactOptional(),
  /** The epoch that the hold has begun: what is copied is what the disks were in it. */
  epoch: z.int().min(0).exactOptional(),
  /** Absent until the node that takes its disks has said something. */
  copy: diskCopySchema.exactOptional(),
});
export type VmHeld = Readonly<z.infer<typeof vmHeldSchema>>;

/** From where a drain has taken a VM. */
export const vmHomeSchema = z.object({ node: nodeIdSchema, operation: operationIdSchema });

const epochSchema = z.int().min(0);

export const vmHoldCommands = {
  /**
   * Stops a VM for an operation. The new epoch makes what its node said before void: that it has stopped is known only from a
   * node that knows that it is held.
   */
  "vm.hold": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({
      name: nameSchema,
      vmId: z.uuid(),
      fencingEpoch: epochSchema,
      operation: operationIdSchema,
      next: vmHeldSchema.shape.next,
      /** The node that takes its disks. */
      to: nodeIdSchema.exactOptional(),
    }),
  }),
  /** Starts a VM that is held and has stopped, on another node or where it is. */
  "vm.release": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({
      name: nameSchema,
      vmId: z.uuid(),
      from: nodeIdSchema,
      fencingEpoch: epochSchema,
      to: nodeIdSchema,
      reason: z.string().max(1_024),
    }),
  }),
};

/** What an operation does about one VM. */
const plannedVmSchema = z.object({
  vm: nameSchema,
  action: z.enum(["move", "stop", "start", "stay"]),
  why: z.string(),
  /** Where a VM would go now. */
  to: nodeIdSchema.exactOptional(),
});
export type PlannedVm = z.infer<typeof plannedVmSchema>;

const dryRun = { dryRun: z.boolean().describe("only say what it would do").default(false) };

/** What every operation is told that moves VMs; `left` says what becomes of those that it does not come to. */
function movesWithin(left: string) {
  return {
    parallel: drainWishSchema.shape.parallel.describe("VMs that are under way at once").default(2),
    deadlineMs: z
      .int()
      .min(1_000)
      .max(limits.operationDeadlineMsMax)
      .describe(`it fails when it is not done by then; ${left}`)
      .default(600_000),
    ...dryRun,
  };
}

const answer = writtenSchema.extend({
  plan: z.array(plannedVmSchema),
  /** Absent in a dry run. */
  operation: operationRecordSchema.exactOptional(),
});

export const nodeWorkMethods = {
  "node.drain": method({
    summary: "cordon a node, and move its VMs away or stop them",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/nodes/{id}/drain" }],
    client: { group: "nodes", name: "drain", args: "request" },
    request: z
      .object({
        id: nodeIdSchema,
        mode: drainModeSchema
          .describe(
            "for every VM: restart on another node, migrate there with its disks, or stop; default: restart what moves, stop the rest",
          )
          .exactOptional(),
        vmModes: drainWishSchema.shape.vmModes.describe("for single VMs, before mode").default([]),
        ...movesWithin("what has not moved runs on"),
      })
      .strict(),
    response: answer,
  }),
  "node.resume": method({
    summary: "let VMs come to a node again, and bring back those that a drain took from there",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/nodes/{id}/resume" }],
    client: { group: "nodes", name: "resume", args: "request" },
    request: z
      .object({
        id: nodeIdSchema,
        ...movesWithin("what has not come back stays where it is"),
      })
      .strict(),
    response: answer,
  }),
  "node.evacuate": method({
    summary: "move what may be moved of the VMs of a lost node, once its lease is over",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/nodes/{id}/evacuate" }],
    client: { group: "nodes", name: "evacuate", args: "request" },
    request: z.object({ id: nodeIdSchema, ...dryRun }).strict(),
    response: answer,
  }),
  "scheduling.rebalance": method({
    summary: "move running VMs that lose nothing by it to nodes that suit them better",
    since: 3,
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/scheduling/rebalance" }],
    client: { group: "scheduling", name: "rebalance", args: "request" },
    request: z
      .object({
        ...movesWithin("what has not moved runs on"),
      })
      .strict(),
    response: answer.extend({
      more: z.literal(true).describe("more may gain by a move: ask again when this run is over").exactOptional(),
    }),
  }),
};
