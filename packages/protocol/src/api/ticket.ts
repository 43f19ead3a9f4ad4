/** Tickets: invitations for nodes and people, good once. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { accessRoleSchema } from "./access.ts";
import { command, method } from "./definitions.ts";
import { listSchema, pageSchema } from "./list.ts";
import { memberRoleSchema } from "./node.ts";
import { digestSchema, endpointIdSchema, nameSchema, secretIdSchema, writtenSchema } from "./values.ts";

/** What a ticket is good for: the role of a node, or the rights of a person's key. */
export const ticketRoleSchema = z
  .enum([...memberRoleSchema.options, ...accessRoleSchema.options])
  .meta({ sinceValue: { admin: 3 } });
export type TicketRole = z.infer<typeof ticketRoleSchema>;

/** The level from which a ticket is shown by a signature. Its secret stays with its holder. */
export const signedTicketsSince = 3;

/** A record has `proofKey`, or `secretHash` when its ticket was made below `signedTicketsSince`. */
export const ticketRecordSchema = z.object({
  id: secretIdSchema,
  /** SHA-256 of the secret, hexadecimal; the secret itself is only in the ticket. */
  secretHash: digestSchema.exactOptional(),
  /** The public half of the key that is made of the secret. Whoever has this copy of the state can check, and not show. */
  proofKey: endpointIdSchema.meta({ since: signedTicketsSince }).exactOptional(),
  role: ticketRoleSchema,
  nodeName: nameSchema.nullable(),
  createdUnixMs: z.int().min(0),
  expiresUnixMs: z.int().min(0),
  /** Endpoint id of the node or the person that used it. */
  usedBy: endpointIdSchema.nullable(),
  revoked: z.boolean(),
  /** How long the key of a person is good for that uses it. Absent: until somebody revokes it. */
  accessTtlSeconds: z.int().min(1).max(limits.tokenTtlSecondsMax).meta({ since: 3 }).exactOptional(),
});
export type TicketRecord = z.infer<typeof ticketRecordSchema>;

export const ticketViewSchema = ticketRecordSchema.omit({ secretHash: true, proofKey: true });
export type TicketView = z.infer<typeof ticketViewSchema>;

export const ticketCommands = {
  "ticket.create": command({ since: 1, body: z.object({ ticket: ticketRecordSchema }) }),
  "ticket.revoke": command({
    since: 1,
    subject: ({ ticketId }) => ticketId,
    body: z.object({ ticketId: secretIdSchema }),
  }),
};

export const ticketMethods = {
  /** The secret is only in this answer. */
  "ticket.create": method({
    summary: "an invitation for a node or a person",
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "POST", path: "/v1/tickets", successStatus: 201 }],
    client: { group: "tickets", name: "create", args: "request" },
    request: z
      .object({
        role: ticketRoleSchema,
        nodeName: nameSchema.optional(),
        ttlSeconds: z.int().min(1).max(limits.ticketTtlSecondsMax).default(limits.ticketTtlSecondsDefault),
        /** For the roles of people: how long the key is good for. Default: until it is revoked. */
        accessTtlSeconds: z.int().min(1).max(limits.tokenTtlSecondsMax).optional(),
      })
      .strict(),
    response: writtenSchema.extend({ id: z.string(), ticket: z.string(), expiresUnixMs: z.int() }),
  }),
  "ticket.list": method({
    summary: "all tickets, without their secrets",
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/tickets" }],
    client: { group: "tickets", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(ticketViewSchema),
  }),
  "ticket.revoke": method({
    summary: "make a ticket good for nothing",
    place: "leader",
    access: "operator",
    writes: true,
    http: [{ verb: "DELETE", path: "/v1/tickets/{id}" }],
    client: { group: "tickets", name: "revoke", args: ["id"] },
    request: z.object({ id: secretIdSchema }).strict(),
    response: writtenSchema,
  }),
};
