/** Tokens: who may call without being a node, by a bearer token over HTTP or by a key of their own over the RPC lane. */
import { z } from "zod";
import { command, method } from "./definitions.ts";
import { listSchema, pageSchema } from "./list.ts";
import {
  addressSchema,
  digestSchema,
  endpointIdSchema,
  nameSchema,
  secretIdSchema,
  shownTicketSchema,
  writtenSchema,
} from "./values.ts";

export const tokenRecordSchema = z.object({
  id: secretIdSchema,
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

export const tokenViewSchema = tokenRecordSchema.omit({ tokenHash: true });
export type TokenView = z.infer<typeof tokenViewSchema>;

export const tokenCommands = {
  /** Lets somebody call who is no node; uses up the ticket, if one is named, in the same step. */
  "token.create": command({
    since: 2,
    body: z.object({ token: tokenRecordSchema, ticketId: secretIdSchema.nullable() }),
  }),
  "token.revoke": command({
    since: 2,
    subject: ({ tokenId }) => tokenId,
    body: z.object({ tokenId: secretIdSchema }),
  }),
};

export const tokenMethods = {
  /** The text of the token is only in this answer. */
  "token.create": method({
    summary: "a bearer token",
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "POST", path: "/v1/tokens", successStatus: 201 }],
    client: { group: "tokens", name: "create", args: "request" },
    request: z.object({ role: tokenRecordSchema.shape.role, name: nameSchema.optional() }).strict(),
    response: writtenSchema.extend({ id: z.string(), token: z.string() }),
  }),
  "token.list": method({
    summary: "all tokens, without their texts",
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/tokens" }],
    client: { group: "tokens", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(tokenViewSchema),
  }),
  "token.revoke": method({
    summary: "take the rights of a token away",
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "DELETE", path: "/v1/tokens/{id}" }],
    client: { group: "tokens", name: "revoke", args: ["id"] },
    request: z.object({ id: secretIdSchema }).strict(),
    response: writtenSchema,
  }),
  /** Asked by a person's machine with a ticket for an operator or a viewer. The key of the connection gets the rights. */
  "token.redeem": method({
    summary: "give the rights of a ticket to the key that shows it",
    place: "leader",
    access: "ticket",
    writes: true,
    request: z
      .object({ ticket: shownTicketSchema, endpointId: endpointIdSchema, name: nameSchema.optional() })
      .strict(),
    response: z.object({
      clusterId: z.string(),
      id: z.string(),
      role: tokenRecordSchema.shape.role,
      nodes: z.array(z.object({ endpointId: endpointIdSchema, addresses: z.array(addressSchema) })),
    }),
  }),
};
