/** Virtual machines. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { command, type HttpRoute, method, stream } from "./definitions.ts";
import { diskCopyCommands, diskCopyMethods, movedDisksSchema } from "./disk-copy.ts";
import { driverKindSchema } from "./driver.ts";
import { labelsSchema } from "./labels.ts";
import { listSchema, pageSchema } from "./list.ts";
import { lossEffectSchema, lossPolicySchema, onNodeLossSchema, onPartitionSchema } from "./loss-policy.ts";
import { vmHeldSchema, vmHomeSchema } from "./node-work.ts";
import { operationIdSchema } from "./operation.ts";
import { rowChanges } from "./row-changes.ts";
import { bytesSchema, emptySchema, nameSchema, nodeIdSchema, writtenSchema } from "./values.ts";
import { guestAgentSchema, vmAgentMethods } from "./vm-agent.ts";
import { vmCardsSchema } from "./vm-cards.ts";
import { sealedSecretSchema } from "./vm-cloud-init.ts";
import { observedConditionsSchema, vmConditionSchema } from "./vm-conditions.ts";
import { detachingSchema, diskNamesSchema, guestDisksSchema, recordedDisksSchema } from "./vm-disks.ts";
import { observedEndsSchema, recordedEndsSchema } from "./vm-ends.ts";
import { vmForwardStreams } from "./vm-forward.ts";
import { vmNetworkStateMethods } from "./vm-network-state.ts";
import { nextLossPolicySchema, startedWithSchema } from "./vm-process.ts";
import { preemptedSchema } from "./vm-queue.ts";
import { vmSpecSchema } from "./vm-spec.ts";

export const vmDesiredSchema = z.enum(["running", "stopped", "paused", "deleted"]);
export type VmDesired = z.infer<typeof vmDesiredSchema>;

/** The phases of a VM; the VM manager owns the transitions between them. */
export const vmPhaseSchema = z.enum([
  "Pending",
  "Preparing",
  "Starting",
  "Running",
  "Paused",
  "Stopping",
  "Stopped",
  "Failed",
  "Unknown",
  "Deleted",
]);
export type VmPhase = z.infer<typeof vmPhaseSchema>;

const guestSchema = z
  .enum(["none", "booting", "ready", "panicked", "io-error", "not-responding"])
  .meta({ sinceValue: { "not-responding": 3 } });
const fencingEpochSchema = z.int().min(0);
const placementSchema = z.string().max(limits.placementLengthMax);

/** What the node that owns a VM saw last. */
export const vmObservationSchema = z.object({
  vmId: z.uuid(),
  fencingEpoch: fencingEpochSchema,
  phase: vmPhaseSchema,
  /** Why the phase is what it is, one term: `guest-shutdown`, `boot-deadline`, `host-reboot`, ... */
  reason: z.string().max(128),
  message: z.string().max(1_024),
  driver: driverKindSchema.nullable(),
  guest: guestSchema,
  restarts: z.int().min(0),
  observedUnixMs: z.int().min(0),
  /** Absent when there are none. */
  conditions: observedConditionsSchema.exactOptional(),
  ends: observedEndsSchema.exactOptional(),
  /** Those that the node has made. Absent while it has none. */
  disks: diskNamesSchema.meta({ since: 3 }).exactOptional(),
  agent: guestAgentSchema.exactOptional(),
  startedWith: startedWithSchema.exactOptional(),
  /** Those that it has while it runs. Absent for one that has none, and where nobody can ask. */
  guestDisks: guestDisksSchema.meta({ since: 3 }).exactOptional(),
});
export type VmObservation = z.infer<typeof vmObservationSchema>;

export const vmRecordSchema = z.object({
  name: nameSchema,
  vmId: z.uuid(),
  spec: vmSpecSchema,
  desired: vmDesiredSchema,
  phase: vmPhaseSchema,
  /** The node that owns the VM; null while it is placed nowhere. */
  node: nodeIdSchema.nullable(),
  /** Grows whenever the VM is given to a node or started anew; an observation with another epoch is void. */
  fencingEpoch: fencingEpochSchema,
  conditions: z.array(vmConditionSchema),
  reason: z.string(),
  message: z.string(),
  driver: driverKindSchema.nullable(),
  guest: guestSchema,
  restarts: z.int().min(0),
  /** What becomes of it without its node. Absent for a VM from before there were leases: `formerLossPolicy`. */
  lossPolicy: lossPolicySchema.meta({ since: 3 }).exactOptional(),
  /** Why the scheduler chose this node, for people. */
  placement: placementSchema,
  createdUnixMs: z.int().min(0),
  updatedUnixMs: z.int().min(0),
  createdIndex: z.int().min(0),
  updatedIndex: z.int().min(0),
  /** Absent in the record of a VM that never ended. */
  ends: recordedEndsSchema.exactOptional(),
  /** An operation has stopped it for a while. */
  held: vmHeldSchema.meta({ since: 3 }).exactOptional(),
  /** A drain has taken it from there. */
  home: vmHomeSchema.meta({ since: 3 }).exactOptional(),
  /** In private networks. Absent: none. */
  cards: vmCardsSchema.meta({ since: 3 }).exactOptional(),
  /** Where its disks are. A node that is named here never makes one of them anew. */
  disks: recordedDisksSchema.meta({ since: 3 }).exactOptional(),
  labels: labelsSchema.meta({ since: 3 }).exactOptional(),
  /** It was stopped to make room, until somebody starts it. */
  preempted: preemptedSchema.meta({ since: 3 }).exactOptional(),
  /** What the agent in the guest says. Nothing vouches for that but the guest. */
  agent: guestAgentSchema.exactOptional(),
  startedWith: startedWithSchema.exactOptional(),
  nextLossPolicy: nextLossPolicySchema.exactOptional(),
  /** The entry that changed its disks last. Absent: they are those of its creation. */
  disksIndex: z.int().min(0).meta({ since: 3 }).exactOptional(),
  guestDisks: guestDisksSchema.meta({ since: 3 }).exactOptional(),
  /** Volumes that are not in its specification any more, and that its guest may still have. Absent: none. */
  detaching: z.array(detachingSchema).max(limits.vmDisksMax).meta({ since: 3 }).exactOptional(),
  /** Its disks were copied from one node to another. */
  moved: movedDisksSchema.meta({ since: 3 }).exactOptional(),
});
export type VmRecord = z.infer<typeof vmRecordSchema>;

/** Why a VM is where and how it is. */
export const vmExplanationSchema = z.object({
  ...vmRecordSchema.pick({
    name: true,
    node: true,
    phase: true,
    desired: true,
    reason: true,
    message: true,
    placement: true,
    conditions: true,
    ends: true,
    disks: true,
  }).shape,
  onNodeLoss: onNodeLossSchema,
  onPartition: onPartitionSchema,
  lossEffect: lossEffectSchema,
  fencingEpoch: fencingEpochSchema,
  pendingRestart: z
    .array(z.object({ field: z.string(), runs: z.string(), wanted: z.string() }))
    .describe("fields of the specification that it has when it was started again")
    .exactOptional(),
});

/**
 * What people ask of a VM that exists: each is a route, a call of the client and a command of the command line. `phase` is
 * where the VM is when it is done.
 */
export const vmVerbs = {
  start: { desired: "running", restart: false, phase: "Running", summary: "start a stopped VM" },
  stop: {
    desired: "stopped",
    restart: false,
    phase: "Stopped",
    summary: "ask the guest to power off, and see to it that it does",
  },
  restart: { desired: "running", restart: true, phase: "Running", summary: "stop and start a VM" },
  pause: { desired: "paused", restart: false, phase: "Paused", summary: "freeze a running VM" },
  resume: {
    desired: "running",
    restart: false,
    from: "paused",
    phase: "Running",
    summary: "let a paused VM run on",
  },
} as const satisfies Readonly<Record<string, VmVerb>>;
export type VmVerbName = keyof typeof vmVerbs;

export interface VmVerb {
  readonly desired: VmDesired;
  readonly restart: boolean;
  /** Only a VM that is this, or what is desired already. */
  readonly from?: "paused";
  readonly phase: VmPhase;
  readonly summary: string;
}

export const vmCommands = {
  ...diskCopyCommands,
  "vm.create": command({
    since: 1,
    subject: ({ name }) => name,
    body: z.object({
      name: nameSchema,
      vmId: z.uuid(),
      spec: vmSpecSchema,
      desired: z.enum(["running", "stopped"]),
      /** Either this, or `pending`. */
      node: nodeIdSchema.exactOptional(),
      placement: placementSchema,
      labels: labelsSchema.meta({ since: 3 }).exactOptional(),
      /** No node can take it now, and this is why: it waits for room. */
      pending: placementSchema.meta({ since: 3 }).exactOptional(),
      cards: vmCardsSchema.meta({ since: 3 }).exactOptional(),
      /** The user data of the specification, which holds a mark in its place. */
      userData: sealedSecretSchema.meta({ since: 3 }).exactOptional(),
    }),
  }),
  /** Decided by the leader when others have to be able to open the user data of a VM than those who can. */
  "vm.reseal": command({
    since: 3,
    subject: ({ vmId }) => vmId,
    body: z.object({
      vmId: z.uuid(),
      ...sealedSecretSchema.pick({ ephemeralKey: true, keys: true }).shape,
    }),
  }),
  "vm.desire": command({
    since: 1,
    subject: ({ name }) => name,
    body: z.object({
      name: nameSchema,
      desired: vmDesiredSchema,
      /** True for a start or restart, which takes a new fencing epoch. */
      newEpoch: z.boolean(),
      /** Where to place a VM that has no node; both or neither. */
      node: nodeIdSchema.exactOptional(),
      placement: placementSchema.exactOptional(),
      /** With `running`, of a VM that has no node: no node can take it now, and this is why. It waits for room. */
      pending: placementSchema.meta({ since: 3 }).exactOptional(),
      /** The wish is forced: the operation that it becomes. */
      operation: operationIdSchema.meta({ since: 3 }).exactOptional(),
    }),
  }),
  /**
   * Decided by the leader when the lease of the node is over: the VM runs on another one from now on, in a new epoch. Without
   * `to` there is none that could take it, and `reason` says why; it stays with the node that it has.
   */
  "vm.move": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({
      name: nameSchema,
      vmId: z.uuid(),
      from: nodeIdSchema,
      /** What the leader saw: with another one by now, the decision is void. */
      fencingEpoch: fencingEpochSchema,
      to: nodeIdSchema.exactOptional(),
      reason: placementSchema,
      /** Somebody has the node evacuated: a VM that waits for it moves too, when it has no data there. */
      evacuated: z.literal(true).exactOptional(),
    }),
  }),
  /**
   * Decided by the leader when the lease of the node is over, of a VM that ends without one: what was to stop has stopped, and
   * what was to be deleted is gone.
   */
  "vm.settle": command({
    since: 3,
    subject: ({ name }) => name,
    body: z.object({ name: nameSchema, vmId: z.uuid(), from: nodeIdSchema, fencingEpoch: fencingEpochSchema }),
  }),
  /** Forgets a VM at once, whatever its owner says: the forced delete. */
  "vm.purge": command({
    since: 1,
    subject: ({ name }) => name,
    body: z.object({
      name: nameSchema,
      /** The operation that ends when nothing of the VM runs any more. */
      operation: operationIdSchema.meta({ since: 3 }).exactOptional(),
    }),
  }),
  "vm.observe": command({
    since: 1,
    subject: ({ nodeId }) => nodeId,
    body: z.object({ nodeId: nodeIdSchema, observations: z.array(vmObservationSchema).max(limits.vmsMax) }),
  }),
};

const byName = z.object({ name: nameSchema }).strict();
const vmWritten = writtenSchema.extend({ vm: vmRecordSchema });

const verbRoutes = Object.entries(vmVerbs).map(
  ([verb, { desired, restart, ...rest }]: [string, VmVerb]): HttpRoute => ({
    verb: "POST",
    path: `/v1/vms/{name}/${verb}`,
    fixed: { desired, restart, ...(rest.from === undefined ? {} : { from: rest.from }) },
    merged: "vm",
  }),
);

/** `offset` is in the whole serial output; negative counts from its end. */
const consolePosition = { name: nameSchema, offset: z.int() };

export const vmMethods = {
  ...vmAgentMethods,
  ...vmNetworkStateMethods,
  ...diskCopyMethods,
  "vm.list": method({
    summary: "all VMs",
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/vms" }],
    client: { group: "vms", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(vmRecordSchema),
  }),
  "vm.get": method({
    summary: "one VM",
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/vms/{name}" }],
    client: { group: "vms", name: "get", args: ["name"] },
    request: byName,
    response: vmRecordSchema,
  }),
  "vm.explain": method({
    summary: "why a VM is where and how it is",
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/vms/{name}/explain" }],
    client: { group: "vms", name: "explain", args: ["name"] },
    request: byName,
    response: vmExplanationSchema,
  }),
  "vm.create": method({
    summary: "create a VM, and start it unless `desired` says otherwise",
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/vms", successStatus: 201, merged: "vm" }],
    request: z
      .object({
        name: nameSchema,
        spec: vmSpecSchema,
        desired: z.enum(["running", "stopped"]).default("running"),
        labels: labelsSchema.exactOptional(),
        /** Refused when no node can take it now. Otherwise such a VM waits for room. */
        failIfPending: z.boolean().exactOptional(),
      })
      .strict(),
    response: vmWritten,
  }),
  "vm.desire": method({
    summary: "say what is to become of a VM",
    place: "leader",
    access: "operator",
    writes: true,
    http: [
      { verb: "PATCH", path: "/v1/vms/{name}", merged: "vm" },
      { verb: "DELETE", path: "/v1/vms/{name}", fixed: { desired: "deleted" }, merged: "vm" },
      ...verbRoutes,
    ],
    request: z
      .object({
        name: nameSchema,
        desired: vmDesiredSchema,
        restart: z.boolean().default(false),
        /** With `running`: lets a paused VM run on, and starts none that is stopped. */
        from: z.literal("paused").exactOptional(),
        force: z
          .boolean()
          .describe(
            "deleted: forget the VM without waiting for its node; stopped: also when its node does not answer, as soon as that is known to be done",
          )
          .default(false),
      })
      .strict(),
    response: vmWritten.extend({
      /** When a forced wish about a VM of a lost node takes effect, in a sentence. */
      effect: z.string().exactOptional(),
      /** The operation that this is. */
      operation: operationIdSchema.exactOptional(),
    }),
  }),
  "vm.observe": method({
    summary: "what the owner of VMs saw of them",
    place: "leader",
    access: "node",
    writes: true,
    request: z.object({ nodeId: nodeIdSchema, observations: z.array(vmObservationSchema).max(limits.vmsMax) }).strict(),
    response: writtenSchema,
  }),
  "vm.consoleRead": method({
    summary: "a piece of the serial output of a VM",
    place: "owner",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/vms/{name}/logs", bytes: "response" }],
    client: { group: "vms", name: "readConsole", args: "request" },
    request: z
      .object({
        ...consolePosition,
        bytesMax: z.int().min(1).max(limits.consoleReadBytesMax).default(limits.consoleReadBytesMax),
        /** Waits so long for a first byte. */
        waitMs: z.int().min(0).max(limits.consoleReadWaitMsMax).default(0),
      })
      .strict(),
    response: z.object({ offset: z.int(), data: bytesSchema, endOffset: z.int() }),
  }),
  "vm.consoleWrite": method({
    summary: "input for the serial console of a VM",
    place: "owner",
    access: "operator",
    writes: false,
    http: [{ verb: "POST", path: "/v1/vms/{name}/console", bytes: "request" }],
    request: z.object({ name: nameSchema, data: bytesSchema }).strict(),
    response: emptySchema,
  }),
};

const consoleRequest = z.object(consolePosition).strict();
const consolePiece = z.object({ offset: z.int(), data: bytesSchema });

export const vmStreams = {
  ...vmForwardStreams,
  /** The serial console of a VM: input goes in, output comes out until the caller leaves. */
  "vm.console": stream({
    summary: "the serial console of a VM, input and output",
    place: "owner",
    access: "operator",
    request: consoleRequest,
    input: bytesSchema,
    output: consolePiece.extend({
      /** True once: the input has ended, and the VM has been given all of it. */
      inputEnded: z.boolean(),
    }),
  }),
  /** The serial output of a VM, as it comes. */
  "vm.logs": stream({
    summary: "the serial output of a VM, as it comes",
    place: "owner",
    access: "viewer",
    http: { path: "/v1/vms/{name}/logs", flag: "follow" },
    request: consoleRequest,
    input: z.never(),
    output: consolePiece,
  }),
  /**
   * The VMs that are there, or the one that is named; `current` once; and then every later state of them: of changes that
   * follow one another faster than they are read, the last one.
   */
  "vm.watch": stream({
    summary: "VMs as they are, and then as they change",
    place: "read",
    access: "viewer",
    http: { path: "/v1/vms", flag: "watch" },
    request: z.object({ name: nameSchema.exactOptional() }).strict(),
    input: z.never(),
    output: z.discriminatedUnion("type", [
      z.object({ type: z.literal("put"), vm: vmRecordSchema }),
      z.object({ type: z.literal("delete"), name: nameSchema }),
      z.object({ type: z.literal("current") }),
    ]),
  }),
};

export type VmChange = z.output<(typeof vmStreams)["vm.watch"]["output"]>;

/**
 * What `vm.watch` says of the step from what its reader has seen, the index of each VM, to what is there now. `touched` are
 * the names that may differ, by default all. `seen` becomes what is there now.
 */
export function vmChanges(
  seen: Map<string, number>,
  present: ReadonlyMap<string, VmRecord>,
  touched?: Iterable<string>,
): VmChange[] {
  const { deleted, written } = rowChanges(seen, present, ({ updatedIndex }) => updatedIndex, touched);
  return [
    ...deleted.map((name): VmChange => ({ type: "delete", name })),
    ...written.map((vm): VmChange => ({ type: "put", vm })),
  ];
}
