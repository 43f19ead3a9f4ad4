/**
 * The shape of a command as a schema: what a log entry must satisfy before it is applied. A command that does not is
 * refused alike on every replica.
 */
import { z } from "zod";
import type { Command, CommandBody } from "./commands.ts";
import { limits } from "./limits.ts";
import {
  addressSchema,
  imageNameSchema,
  imageRecordSchema,
  memberRoleSchema,
  nameSchema,
  nodeCapacitySchema,
  nodeIdSchema,
  nodeRecordSchema,
  storeIdSchema,
  ticketRecordSchema,
  tokenRecordSchema,
  vmDesiredSchema,
  vmObservationSchema,
  vmSpecSchema,
} from "./records.ts";

export const clusterRecordSchema = z.object({
  clusterId: z.string().min(1).max(64),
  createdUnixMs: z.int().min(0),
  formatVersion: z.literal(1),
});

const keySchema = z.string().min(1).max(limits.keyBytesMax);
const placementSchema = z.string().max(1_024);
const ticketIdSchema = z.string().max(64);
const tokenIdSchema = z.string().max(64);

export const commandBodySchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("cluster.init"),
    cluster: clusterRecordSchema,
    node: nodeRecordSchema,
    token: tokenRecordSchema,
    images: z.array(imageRecordSchema).max(limits.imagesMax),
  }),
  z.object({ type: z.literal("node.admit"), node: nodeRecordSchema, ticketId: ticketIdSchema.nullable() }),
  z.object({
    type: z.literal("node.update"),
    nodeId: nodeIdSchema,
    addresses: z.array(addressSchema).max(limits.addressesPerNodeMax).exactOptional(),
    capacity: nodeCapacitySchema.exactOptional(),
    version: z.string().max(64).exactOptional(),
    featureLevel: z.int().min(1).exactOptional(),
    role: memberRoleSchema.exactOptional(),
    cordoned: z.boolean().exactOptional(),
    storeId: storeIdSchema.exactOptional(),
    starts: z.int().min(1).exactOptional(),
    rejoined: z.literal(true).exactOptional(),
    leaving: z.literal(true).exactOptional(),
  }),
  z.object({ type: z.literal("node.liveness"), nodeId: nodeIdSchema, reachable: z.boolean() }),
  z.object({ type: z.literal("node.remove"), nodeId: nodeIdSchema }),
  z.object({ type: z.literal("ticket.create"), ticket: ticketRecordSchema }),
  z.object({ type: z.literal("ticket.revoke"), ticketId: ticketIdSchema }),
  z.object({ type: z.literal("token.create"), token: tokenRecordSchema, ticketId: ticketIdSchema.nullable() }),
  z.object({ type: z.literal("token.revoke"), tokenId: tokenIdSchema }),
  z.object({ type: z.literal("image.put"), image: imageRecordSchema }),
  z.object({ type: z.literal("image.remove"), name: imageNameSchema }),
  z.object({
    type: z.literal("vm.create"),
    name: nameSchema,
    vmId: z.uuid(),
    spec: vmSpecSchema,
    desired: z.enum(["running", "stopped"]),
    node: nodeIdSchema,
    placement: placementSchema,
  }),
  z.object({
    type: z.literal("vm.desire"),
    name: nameSchema,
    desired: vmDesiredSchema,
    newEpoch: z.boolean(),
    node: nodeIdSchema.exactOptional(),
    placement: placementSchema.exactOptional(),
  }),
  z.object({ type: z.literal("vm.purge"), name: nameSchema }),
  z.object({
    type: z.literal("vm.observe"),
    nodeId: nodeIdSchema,
    observations: z.array(vmObservationSchema).max(limits.vmsMax),
  }),
  z.object({ type: z.literal("kv.put"), key: keySchema, value: z.string().max(limits.valueBytesMax) }),
  z.object({ type: z.literal("kv.delete"), key: keySchema }),
  z.object({
    type: z.literal("kv.cas"),
    key: keySchema,
    from: z.string().nullable(),
    to: z.string().max(limits.valueBytesMax).nullable(),
  }),
]) satisfies z.ZodType<CommandBody>;

export const commandSchema = z.object({
  requestId: z.string().max(limits.requestIdLengthMax),
  atUnixMs: z.int().min(0),
  actor: z.object({ kind: z.enum(["token", "node", "system"]), id: z.string().max(128) }),
  ifMatchIndex: z.int().min(0).exactOptional(),
  body: commandBodySchema,
}) satisfies z.ZodType<Command>;
