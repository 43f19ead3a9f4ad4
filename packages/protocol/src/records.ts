/**
 * The records of the replicated state. Every node holds the same ones; only `apply` of the state machine changes them.
 */
import { z } from "zod";
import { limits } from "./limits.ts";

/** A name of a VM, node or image part: letters, digits, dot, dash; starts with a letter or digit (RFC 1123 label). */
export const nameSchema = z
  .string()
  .min(1)
  .max(limits.nameLengthMax)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, "use lower-case letters, digits and dashes, as in a host name");

/** Image names may carry one namespace, for example `builtin/nano`. */
export const imageNameSchema = z
  .string()
  .min(1)
  .max(2 * limits.nameLengthMax + 1)
  .regex(
    /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?(\/[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)?$/,
    "use lower-case letters, digits, dots and dashes, with at most one slash",
  );

export const nodeIdSchema = z.int().min(1).max(limits.nodeIdMax);
/** An Ed25519 public key as 64 hexadecimal digits: the identity of a node. */
export const endpointIdSchema = z.string().regex(/^[0-9a-f]{64}$/);
/** `host:port`, or `[v6]:port`. */
export const hostPortSchema = z
  .string()
  .max(262)
  .regex(/^(\[[0-9a-fA-F:]+\]|[^\s:[\]/]+):\d{1,5}$/, "use HOST:PORT");
/** Where an endpoint is reached: `host:port`, or the URL of the relay that it listens at. */
export const addressSchema = z.union(
  [hostPortSchema, z.url({ protocol: /^https?$/ }).max(262)],
  "use HOST:PORT or the URL of a relay",
);
/** The random id of a node's store: 32 hexadecimal digits. */
export const storeIdSchema = z.string().regex(/^[0-9a-f]{32}$/);
export const digestSchema = z.string().regex(/^[0-9a-f]{64}$/);

/** Where an entry stands in the log. */
export const logPositionSchema = z.object({ index: z.int().min(0), term: z.int().min(0) });

/** What a node does: a voter votes and runs VMs, a worker only runs VMs, a witness only votes, a learner only follows. */
export const memberRoleSchema = z.enum(["voter", "learner", "worker", "witness"]);
export type MemberRole = z.infer<typeof memberRoleSchema>;

/** What a ticket is good for: the role of a node, or the rights of a person's key. */
export const ticketRoleSchema = z.enum([...memberRoleSchema.options, "operator", "viewer"]);
export type TicketRole = z.infer<typeof ticketRoleSchema>;

export const driverKindSchema = z.enum(["qemu-kvm", "qemu-tcg", "embedded", "fake"]);
export type DriverKind = z.infer<typeof driverKindSchema>;

export const nodeCapacitySchema = z.object({
  vcpus: z.int().min(0),
  memoryMiB: z.int().min(0),
  /** Drivers that were probed and work, best first. */
  drivers: z.array(driverKindSchema).max(4),
});
export type NodeCapacity = z.infer<typeof nodeCapacitySchema>;

export const nodeRecordSchema = z.object({
  id: nodeIdSchema,
  name: nameSchema,
  endpointId: endpointIdSchema,
  addresses: z.array(addressSchema).max(limits.addressesPerNodeMax),
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
  version: z.string().max(64),
  featureLevel: z.int().min(1),
  joinedUnixMs: z.int().min(0),
  cordoned: z.boolean(),
  /** Set once when the node is to leave; its record goes when it is out of the Raft configuration. */
  leaving: z.literal(true).exactOptional(),
});
export type NodeRecord = z.infer<typeof nodeRecordSchema>;

export const vmSpecSchema = z
  .object({
    vcpus: z.int().min(1).max(limits.vmVcpusMax).default(1),
    memoryMiB: z.int().min(limits.vmMemoryMiBMin).max(limits.vmMemoryMiBMax),
    image: imageNameSchema,
    /** What a node does with the VM when it has lost the quorum for longer than its lease. */
    onPartition: z.enum(["stop", "keep"]).default("stop"),
    restartPolicy: z.enum(["never", "on-failure", "always"]).default("on-failure"),
  })
  .strict();
export type VmSpec = z.infer<typeof vmSpecSchema>;
export type VmSpecInput = z.input<typeof vmSpecSchema>;

export const vmDesiredSchema = z.enum(["running", "stopped", "paused", "deleted"]);
export type VmDesired = z.infer<typeof vmDesiredSchema>;

/** The phases of `vms.md`; the VM manager owns the transitions between them. */
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

export const vmConditionSchema = z.object({
  type: z.string().max(64),
  status: z.boolean(),
  reason: z.string().max(128),
  message: z.string().max(1_024),
});
export type VmCondition = z.infer<typeof vmConditionSchema>;

/** What the node that owns a VM saw last. */
export const vmObservationSchema = z.object({
  vmId: z.uuid(),
  fencingEpoch: z.int().min(0),
  phase: vmPhaseSchema,
  /** Why the phase is what it is, one term: `guest-shutdown`, `boot-deadline`, `host-reboot`, ... */
  reason: z.string().max(128),
  message: z.string().max(1_024),
  driver: driverKindSchema.nullable(),
  guest: z.enum(["none", "booting", "ready", "panicked", "io-error"]),
  restarts: z.int().min(0),
  observedUnixMs: z.int().min(0),
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
  fencingEpoch: z.int().min(0),
  conditions: z.array(vmConditionSchema),
  reason: z.string(),
  message: z.string(),
  driver: driverKindSchema.nullable(),
  guest: z.enum(["none", "booting", "ready", "panicked", "io-error"]),
  restarts: z.int().min(0),
  /** Why the scheduler chose this node, for people. */
  placement: z.string().max(1_024),
  createdUnixMs: z.int().min(0),
  updatedUnixMs: z.int().min(0),
  createdIndex: z.int().min(0),
  updatedIndex: z.int().min(0),
});
export type VmRecord = z.infer<typeof vmRecordSchema>;

export const imageBlobSchema = z.object({
  role: z.enum(["kernel", "initrd", "disk"]),
  digest: digestSchema,
  sizeBytes: z.int().min(1).max(limits.imageBlobBytesMax),
});
export type ImageBlob = z.infer<typeof imageBlobSchema>;

export const imageRecordSchema = z.object({
  name: imageNameSchema,
  /** `multiboot`: one ELF kernel; `linux`: bzImage with optional initrd; `disk`: a raw or qcow2 disk that boots. */
  format: z.enum(["multiboot", "linux", "disk"]),
  /** Built-in images are made by every node itself and need no transfer. */
  builtin: z.boolean(),
  blobs: z.array(imageBlobSchema).min(1).max(3),
  /** Kernel command line: printable ASCII without comma. */
  commandLine: z
    .string()
    .max(1_024)
    .regex(/^[\x20-\x2b\x2d-\x7e]*$/, "use printable ASCII without commas"),
  minMemoryMiB: z.int().min(0),
  /** Nodes that held all blobs when the record was written. */
  sources: z.array(nodeIdSchema).max(limits.nodesMax),
  createdUnixMs: z.int().min(0),
});
export type ImageRecord = z.infer<typeof imageRecordSchema>;

export const ticketRecordSchema = z.object({
  id: z.string().max(64),
  /** SHA-256 of the secret, hexadecimal; the secret itself is only in the ticket. */
  secretHash: digestSchema,
  role: ticketRoleSchema,
  nodeName: nameSchema.nullable(),
  createdUnixMs: z.int().min(0),
  expiresUnixMs: z.int().min(0),
  /** Endpoint id of the node or the person that used it. */
  usedBy: endpointIdSchema.nullable(),
  revoked: z.boolean(),
});
export type TicketRecord = z.infer<typeof ticketRecordSchema>;

/** What somebody who is no node calls with: a bearer token over HTTP, or a key of their own over the RPC lane. */
export const tokenRecordSchema = z.object({
  id: z.string().max(64),
  /** SHA-256 of a bearer token. A record has this or `endpointId`. */
  tokenHash: digestSchema.exactOptional(),
  /** The key that a connection proves; it came in with a ticket. */
  endpointId: endpointIdSchema.exactOptional(),
  /** For people: what the holder called itself. */
  name: nameSchema.exactOptional(),
  role: z.enum(["admin", "viewer"]),
  createdUnixMs: z.int().min(0),
});
export type TokenRecord = z.infer<typeof tokenRecordSchema>;

export const kvEntrySchema = z.object({
  key: z.string(),
  value: z.string(),
  /** Log index of the last write to the key. */
  index: z.int().min(0),
});
export type KvEntry = z.infer<typeof kvEntrySchema>;

export interface ClusterRecord {
  readonly clusterId: string;
  readonly createdUnixMs: number;
  readonly formatVersion: 1;
}
