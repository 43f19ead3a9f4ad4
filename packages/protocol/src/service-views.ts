/** What the methods of the node service answer about nodes, members, tickets, tokens and certificates. */
import { z } from "zod";
import {
  addressSchema,
  digestSchema,
  endpointIdSchema,
  memberRoleSchema,
  nodeIdSchema,
  nodeRecordSchema,
  ticketRecordSchema,
  tokenRecordSchema,
} from "./records.ts";

export const identitySchema = z.object({
  clusterId: z.string(),
  nodeId: nodeIdSchema,
  endpointId: endpointIdSchema,
  addresses: z.array(addressSchema),
  version: z.string(),
});
export type Identity = z.infer<typeof identitySchema>;

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
  path: z.enum(["direct", "relay", "self", "none"]),
  /** The way of bulk data, once some was fetched from there, and why it is not a direct one; absent in older releases. */
  bulk: z.object({ route: z.enum(["direct", "iroh", "rpc", "none"]), reason: z.string().nullable() }).nullish(),
  rttMs: z.number().nullable(),
  lastContactMs: z.number().nullable(),
  /** Of the session with the member; null for the node itself, and these three are absent in older releases. */
  session: z.string().nullish(),
  queuedMessages: z.int().nullish(),
  lastError: z.string().nullish(),
});
export type MemberStatus = z.infer<typeof memberStatusSchema>;

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
  }),
  vms: z.object({ total: z.int(), running: z.int() }),
  drivers: z.array(z.string()),
  version: z.string(),
  featureLevel: z.int(),
});
export type NodeStatus = z.infer<typeof nodeStatusSchema>;

export const ticketViewSchema = ticketRecordSchema.omit({ secretHash: true });
export type TicketView = z.infer<typeof ticketViewSchema>;

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

export const tokenViewSchema = tokenRecordSchema.omit({ tokenHash: true });
export type TokenView = z.infer<typeof tokenViewSchema>;

export const nodeViewSchema = nodeRecordSchema.extend({
  /** What the leader sees: ready, catching-up, or unreachable. */
  state: z.enum(["ready", "catching-up", "unreachable"]),
  vms: z.int(),
  usedMemoryMiB: z.int(),
  /** Its connections with the others as it sees them; absent when it could not be asked. */
  paths: z
    .array(
      z.object({
        to: nodeIdSchema,
        transport: z.string(),
        path: memberStatusSchema.shape.path,
        rttMs: z.number().nullable(),
      }),
    )
    .optional(),
});
export type NodeView = z.infer<typeof nodeViewSchema>;

export const certificateViewSchema = z.object({
  nodeId: nodeIdSchema,
  /** `node-key`: made by the node of its own key; `operator-ca`: issued by an operator's CA. */
  kind: z.enum(["node-key", "operator-ca"]),
  subject: z.string(),
  issuer: z.string(),
  serial: z.string(),
  notBeforeUnixMs: z.int(),
  notAfterUnixMs: z.int(),
  /** SHA-256 of the certificate. */
  fingerprint: digestSchema,
});
export type CertificateView = z.infer<typeof certificateViewSchema>;
