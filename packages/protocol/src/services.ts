/**
 * The service of a node, method by method: what comes in, what goes out, who may call it and where it runs. Every
 * transport (HTTP, Iroh, memory) carries these same methods.
 */
import { z } from "zod";
import { limits } from "./limits.ts";
import {
  addressSchema,
  digestSchema,
  endpointIdSchema,
  imageBlobSchema,
  imageNameSchema,
  imageRecordSchema,
  kvEntrySchema,
  logPositionSchema,
  memberRoleSchema,
  nameSchema,
  nodeCapacitySchema,
  nodeIdSchema,
  nodeRecordSchema,
  storeIdSchema,
  ticketRoleSchema,
  tokenRecordSchema,
  vmDesiredSchema,
  vmObservationSchema,
  vmRecordSchema,
  vmSpecSchema,
} from "./records.ts";
import {
  certificateViewSchema,
  identitySchema,
  memberStatusSchema,
  nodeStatusSchema,
  nodeViewSchema,
  pendingJoinSchema,
  ticketViewSchema,
  tokenViewSchema,
} from "./service-views.ts";

/**
 * Where a method runs: `local` on the node that was asked, `read` anywhere after a linearizable read index (or at once
 * when stale reads were asked for), `leader` on the leader, `owner` on the node that owns the named VM.
 */
export type MethodPlace = "local" | "read" | "leader" | "owner";
/** The least role that may call: anyone, a viewer, an administrator, or a member node. */
export type MethodAccess = "anyone" | "viewer" | "admin" | "node";

export interface Method<Request extends z.ZodType, Response extends z.ZodType> {
  readonly place: MethodPlace;
  readonly access: MethodAccess;
  /** True when the method may change the replicated state. */
  readonly writes: boolean;
  readonly request: Request;
  readonly response: Response;
}

function method<Request extends z.ZodType, Response extends z.ZodType>(
  place: MethodPlace,
  access: MethodAccess,
  writes: boolean,
  request: Request,
  response: Response,
): Method<Request, Response> {
  return { place, access, writes, request, response };
}

const empty = z.object({}).strict();
const keySchema = z
  .string()
  .min(1)
  .refine((key) => new TextEncoder().encode(key).length <= limits.keyBytesMax, "the key is too long");
/** Its length is checked by the handler, which answers VALUE_TOO_LARGE. */
const valueSchema = z.string();
const bytesSchema: z.ZodType<Uint8Array, Uint8Array> = z.instanceof(Uint8Array);
const written = z.object({ index: z.int(), term: z.int() });
/** The secret in hexadecimal. */
const shownTicketSchema = z.object({ id: z.string().max(64), secret: z.string().max(128) });
const byName = z.object({ name: nameSchema }).strict();
const vmWritten = written.extend({ vm: vmRecordSchema });

/** What each node says of its own addresses, by way of others as well; one of a later start replaces an earlier one. */
const addressClaimsSchema = z
  .array(
    z
      .object({
        nodeId: nodeIdSchema,
        endpointId: endpointIdSchema,
        addresses: z.array(addressSchema).max(limits.addressesPerNodeMax),
        starts: z.int().min(0),
      })
      .strict(),
  )
  .max(limits.nodesMax);

const certificateScope = z.object({ scope: z.enum(["node", "cluster"]).default("cluster") }).strict();
const certificateItems = z.object({ items: z.array(certificateViewSchema) });

export const methods = {
  "identity.get": method("local", "anyone", false, empty, identitySchema),
  "status.get": method("local", "viewer", false, empty, nodeStatusSchema),

  "kv.get": method("read", "viewer", false, z.object({ key: keySchema }).strict(), kvEntrySchema),
  "kv.list": method(
    "read",
    "viewer",
    false,
    z.object({ prefix: z.string().default(""), limit: z.int().min(1).max(limits.listMax).default(1_000) }).strict(),
    z.object({ items: z.array(kvEntrySchema), truncated: z.boolean() }),
  ),
  "kv.put": method("leader", "admin", true, z.object({ key: keySchema, value: valueSchema }).strict(), written),
  "kv.delete": method("leader", "admin", true, z.object({ key: keySchema }).strict(), written),
  "kv.cas": method(
    "leader",
    "admin",
    true,
    z.object({ key: keySchema, from: valueSchema.nullable(), to: valueSchema.nullable() }).strict(),
    written.extend({ swapped: z.boolean() }),
  ),

  "vm.list": method("read", "viewer", false, empty, z.object({ items: z.array(vmRecordSchema) })),
  "vm.get": method("read", "viewer", false, byName, vmRecordSchema),
  "vm.create": method(
    "leader",
    "admin",
    true,
    z
      .object({ name: nameSchema, spec: vmSpecSchema, desired: z.enum(["running", "stopped"]).default("running") })
      .strict(),
    vmWritten,
  ),
  "vm.desire": method(
    "leader",
    "admin",
    true,
    z
      .object({
        name: nameSchema,
        desired: vmDesiredSchema,
        restart: z.boolean().default(false),
        /** With `deleted`: forgets the VM without waiting for its node. The operator answers for what still runs. */
        force: z.boolean().default(false),
      })
      .strict(),
    vmWritten,
  ),
  "vm.observe": method(
    "leader",
    "node",
    true,
    z.object({ nodeId: nodeIdSchema, observations: z.array(vmObservationSchema).max(limits.vmsMax) }).strict(),
    written,
  ),
  "vm.consoleRead": method(
    "owner",
    "viewer",
    false,
    z
      .object({
        name: nameSchema,
        /** Byte offset in the whole serial output; negative counts from its end. */
        offset: z.int(),
        bytesMax: z.int().min(1).max(limits.consoleReadBytesMax).default(limits.consoleReadBytesMax),
        /** Waits so long for a first byte. */
        waitMs: z.int().min(0).max(limits.consoleReadWaitMsMax).default(0),
      })
      .strict(),
    z.object({ offset: z.int(), data: bytesSchema, endOffset: z.int() }),
  ),
  "vm.consoleWrite": method("owner", "admin", false, z.object({ name: nameSchema, data: bytesSchema }).strict(), empty),

  "image.list": method("read", "viewer", false, empty, z.object({ items: z.array(imageRecordSchema) })),
  "image.get": method("read", "viewer", false, z.object({ name: imageNameSchema }).strict(), imageRecordSchema),
  "image.put": method(
    "leader",
    "admin",
    true,
    z
      .object({
        name: imageNameSchema,
        format: z.enum(["multiboot", "linux", "disk"]),
        blobs: z.array(imageBlobSchema).min(1).max(3),
        commandLine: imageRecordSchema.shape.commandLine.default(""),
        minMemoryMiB: z.int().min(0).default(0),
        sources: z.array(nodeIdSchema).min(1),
      })
      .strict(),
    written.extend({ image: imageRecordSchema }),
  ),
  "image.remove": method("leader", "admin", true, z.object({ name: imageNameSchema }).strict(), written),
  /** A piece of a blob for the image store of this node; pieces follow one another, and the last one answers the digest. */
  "blob.write": method(
    "local",
    "admin",
    false,
    z
      .object({
        /** Chosen by the caller. */
        uploadId: z.string().regex(/^[0-9a-f]{32}$/),
        offset: z.int().min(0),
        data: bytesSchema.refine((data) => data.length <= limits.blobPieceBytesMax, "the piece is too large"),
        last: z.boolean(),
      })
      .strict(),
    z.object({ digest: digestSchema.nullable(), sizeBytes: z.int(), nodeId: nodeIdSchema }),
  ),

  "node.list": method("leader", "viewer", false, empty, z.object({ items: z.array(nodeViewSchema) })),
  "node.get": method("leader", "viewer", false, z.object({ id: nodeIdSchema }).strict(), nodeViewSchema),
  "node.update": method(
    "leader",
    "node",
    true,
    z
      .object({
        nodeId: nodeIdSchema,
        addresses: z.array(addressSchema).max(limits.addressesPerNodeMax).optional(),
        capacity: nodeCapacitySchema.optional(),
        version: z.string().max(64).optional(),
        featureLevel: z.int().min(1).optional(),
        storeId: storeIdSchema.optional(),
        starts: z.int().min(1).optional(),
      })
      .strict(),
    written,
  ),
  "node.cordon": method(
    "leader",
    "admin",
    true,
    z.object({ id: nodeIdSchema, cordoned: z.boolean() }).strict(),
    written,
  ),

  "member.list": method("local", "viewer", false, empty, z.object({ items: z.array(memberStatusSchema) })),
  "member.remove": method(
    "leader",
    "admin",
    true,
    z.object({ id: nodeIdSchema, force: z.boolean().default(false) }).strict(),
    written,
  ),
  "member.setRole": method(
    "leader",
    "admin",
    true,
    z.object({ id: nodeIdSchema, role: memberRoleSchema, force: z.boolean().default(false) }).strict(),
    written,
  ),

  "ticket.create": method(
    "leader",
    "admin",
    true,
    z
      .object({
        role: ticketRoleSchema.default("voter"),
        nodeName: nameSchema.optional(),
        ttlSeconds: z.int().min(1).max(limits.ticketTtlSecondsMax).default(limits.ticketTtlSecondsDefault),
      })
      .strict(),
    written.extend({ id: z.string(), ticket: z.string(), expiresUnixMs: z.int() }),
  ),
  "ticket.list": method("read", "viewer", false, empty, z.object({ items: z.array(ticketViewSchema) })),
  "ticket.revoke": method("leader", "admin", true, z.object({ id: z.string().max(64) }).strict(), written),

  /** A bearer token; it is only in this answer. */
  "token.create": method(
    "leader",
    "admin",
    true,
    z.object({ role: tokenRecordSchema.shape.role, name: nameSchema.optional() }).strict(),
    written.extend({ id: z.string(), token: z.string() }),
  ),
  "cert.list": method("local", "viewer", false, certificateScope, certificateItems),
  "cert.rotate": method("local", "admin", false, certificateScope, certificateItems),
  "token.list": method("read", "viewer", false, empty, z.object({ items: z.array(tokenViewSchema) })),
  "token.revoke": method("leader", "admin", true, z.object({ id: z.string().max(64) }).strict(), written),
  /** Asked by a person's machine with a ticket for an operator or a viewer. The key of the connection gets the rights. */
  "token.redeem": method(
    "leader",
    "anyone",
    true,
    z.object({ ticket: shownTicketSchema, endpointId: endpointIdSchema, name: nameSchema.optional() }).strict(),
    z.object({
      clusterId: z.string(),
      id: z.string(),
      role: tokenRecordSchema.shape.role,
      nodes: z.array(z.object({ endpointId: endpointIdSchema, addresses: z.array(addressSchema) })),
    }),
  ),

  /** Asked by a node that is not a member yet. `endpointId` must be the one that the connection proved. */
  "join.request": method(
    "leader",
    "anyone",
    true,
    z
      .object({
        /** null when the joiner has only an address: the join policy decides. */
        ticket: shownTicketSchema.nullable(),
        nodeId: nodeIdSchema,
        nodeName: nameSchema.optional(),
        endpointId: endpointIdSchema,
        addresses: z.array(addressSchema).max(limits.addressesPerNodeMax),
        capacity: nodeCapacitySchema,
        version: z.string().max(64),
        featureLevel: z.int().min(1),
        /** Another one than before makes a known node a new incarnation, which starts as a learner. */
        storeId: storeIdSchema.optional(),
        starts: z.int().min(1).optional(),
        /** Random for each life of the process. */
        instance: z.int().min(0).optional(),
        /** Set by the node that was asked, when its own policy wants an operator to accept the machine. */
        approval: z.literal(true).optional(),
      })
      .strict(),
    z.object({
      clusterId: z.string(),
      role: memberRoleSchema,
      incarnation: z.int(),
      nodes: z.array(nodeRecordSchema),
      /** The last entry that was applied when this was answered: before that the node takes no part in elections. */
      admission: logPositionSchema.optional(),
    }),
  ),
  /** The machines that wait for an operator, as the leader knows them. */
  "join.list": method("leader", "viewer", false, empty, z.object({ items: z.array(pendingJoinSchema) })),
  /** Lets one of them in. */
  "join.accept": method(
    "leader",
    "admin",
    true,
    z.object({ endpointId: endpointIdSchema, role: memberRoleSchema.default("voter") }).strict(),
    written.extend({ nodeId: nodeIdSchema }),
  ),
  /** Asked by a member that starts, of each other one: does my store fit with what you know of me? */
  "node.verify": method(
    "local",
    "node",
    false,
    z
      .object({
        nodeId: nodeIdSchema,
        incarnation: z.int().min(1),
        storeId: storeIdSchema,
        starts: z.int().min(1),
        instance: z.int().min(0).optional(),
        term: z.int().min(0),
        lastIndex: z.int().min(0),
      })
      .strict(),
    z.object({
      /** behind: the store forgot what it promised; other: the node lives in another one; running: it runs already. */
      verdict: z.enum(["fits", "behind", "other", "running"]),
      reason: z.string(),
      /** The leader knows all that was committed: nobody else needs to be asked. */
      leader: z.boolean(),
    }),
  ),
  /** Asked by a member that misses others: where did you hear of members last? It says what it knows itself. */
  "node.addresses": method(
    "local",
    "node",
    false,
    z.object({ claims: addressClaimsSchema }).strict(),
    z.object({ claims: addressClaimsSchema }),
  ),
  /**
   * Asked by a member whose disk has lost entries of its log, before it takes part. The answer holds those from `from`
   * on that fit into `logReadBytesMax`, one at least, or none; whoever asked checks them.
   */
  "log.read": method(
    "local",
    "node",
    false,
    z.object({ from: z.int().min(1), to: z.int().min(1) }).strict(),
    z.object({ entries: bytesSchema }),
  ),
  /** Asked by a member that leaves for good. */
  "leave.request": method("leader", "node", true, z.object({ nodeId: nodeIdSchema }).strict(), written),

  "leader.transfer": method(
    "leader",
    "admin",
    false,
    z.object({ to: nodeIdSchema.optional() }).strict(),
    z.object({ leaderId: z.int(), term: z.int() }),
  ),
  "snapshot.take": method("local", "admin", false, empty, z.object({ index: z.int() })),
  "debug.log": method(
    "local",
    "admin",
    false,
    z.object({ from: z.int().min(0), to: z.int().min(0) }).strict(),
    z.object({ items: z.array(z.object({ index: z.int(), term: z.int(), hash: z.string() })) }),
  ),
  "debug.stateHash": method(
    "local",
    "admin",
    false,
    z.object({ index: z.int().min(0) }).strict(),
    z.object({ index: z.int(), hash: z.string() }),
  ),
} as const;

export type Methods = typeof methods;
export type MethodName = keyof Methods;
/** What a caller gives: fields with defaults may be left out. */
export type RequestOf<Name extends MethodName> = z.input<Methods[Name]["request"]>;
/** What a handler gets. */
export type ParsedRequestOf<Name extends MethodName> = z.output<Methods[Name]["request"]>;
export type ResponseOf<Name extends MethodName> = z.output<Methods[Name]["response"]>;

/** What goes with a call, on every transport. */
export interface CallMeta {
  /** Set by the first caller; kept on forwarding and retry. */
  readonly requestId: string;
  readonly actor: { readonly kind: "token" | "node" | "system"; readonly id: string };
  readonly access: MethodAccess;
  /** Milliseconds that the caller still waits. */
  readonly timeoutMs: number;
  /** Reads only: answer from the local state without asking the leader. */
  readonly stale: boolean;
  readonly ifMatchIndex?: number;
  /** Times this call was forwarded; refused beyond `forwardHopsMax`. */
  readonly hops: number;
}

export const forwardHopsMax = 2;
