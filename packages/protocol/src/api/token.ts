/** Tokens: who may call without being a node, by a bearer token over HTTP or by a key of their own over the RPC lane. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { accessRoleSchema } from "./access.ts";
import { command, method } from "./definitions.ts";
import { listSchema, pageSchema } from "./list.ts";
import {
  digestSchema,
  endpointIdSchema,
  nameSchema,
  nodeIdSchema,
  nodePlacesSchema,
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
  role: accessRoleSchema,
  createdUnixMs: z.int().min(0),
  /** From then on it is good for nothing. Absent: until somebody revokes it. */
  expiresUnixMs: z.int().min(0).meta({ since: 3 }).exactOptional(),
  /** It is the administrator's token in the data directory of this voter. All of these are one caller. */
  node: nodeIdSchema.meta({ since: 3 }).exactOptional(),
  /** Of a node's own token: it was revoked, and the node does not make itself another until somebody rotates it. */
  revoked: z.literal(true).meta({ since: 3 }).exactOptional(),
  /** The ticket that let the key in. Absent for those that came in before there was the role `operator`. */
  ticketId: secretIdSchema.meta({ since: 3 }).exactOptional(),
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
    body: z.object({
      tokenId: secretIdSchema,
      /** Also when nobody is left then who may do everything. */
      lastAdmin: z.literal(true).meta({ since: 3 }).exactOptional(),
    }),
  }),
  /** Gives a token another text, or takes rights from it. */
  "token.change": command({
    since: 3,
    subject: ({ tokenId }) => tokenId,
    body: z.object({
      tokenId: secretIdSchema,
      tokenHash: digestSchema.exactOptional(),
      role: accessRoleSchema.exactOptional(),
      /** Of a node: it makes a new text, and says so. */
      renew: z.literal(true).exactOptional(),
      /** Also when nobody is left then who may do everything. */
      lastAdmin: z.literal(true).exactOptional(),
    }),
  }),
  /** A voter says what the text of its own token is. */
  "token.own": command({
    since: 3,
    subject: ({ nodeId }) => nodeId,
    body: z.object({ nodeId: nodeIdSchema, tokenHash: digestSchema }),
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
    request: z
      .object({
        role: accessRoleSchema,
        name: nameSchema.optional(),
        /** Default: good until it is revoked. */
        ttlSeconds: z.int().min(1).max(limits.tokenTtlSecondsMax).optional(),
      })
      .strict(),
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
    client: { group: "tokens", name: "revoke", args: ["id", "lastAdmin"] },
    request: z.object({ id: secretIdSchema, lastAdmin: z.boolean().optional() }).strict(),
    response: writtenSchema,
  }),
  /** The token of a node gets its new text from the node itself, which writes it into its data directory: it is not in the answer. */
  "token.rotate": method({
    summary: "a new text for a bearer token; the old one is good for nothing",
    since: 3,
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "POST", path: "/v1/tokens/{id}/rotate" }],
    client: { group: "tokens", name: "rotate", args: ["id"] },
    request: z.object({ id: secretIdSchema }).strict(),
    response: writtenSchema.extend({ id: z.string(), token: z.string().nullable() }),
  }),
  "token.narrow": method({
    summary: "take rights from a token or a key",
    since: 3,
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "PATCH", path: "/v1/tokens/{id}" }],
    client: { group: "tokens", name: "narrow", args: ["id", "role", "lastAdmin"] },
    request: z.object({ id: secretIdSchema, role: accessRoleSchema, lastAdmin: z.boolean().optional() }).strict(),
    response: writtenSchema,
  }),
  /** Asked by a voter: the hash of the text that it keeps in its data directory. */
  "token.own": method({
    summary: "what the administrator's token of a voter is",
    since: 3,
    place: "leader",
    access: "node",
    writes: true,
    request: z.object({ nodeId: nodeIdSchema, tokenHash: digestSchema }).strict(),
    response: writtenSchema,
  }),
  /** Asked by a person's machine with a ticket for one of the roles of people. The key of the connection gets the rights. */
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
      role: accessRoleSchema,
      nodes: nodePlacesSchema,
    }),
  }),
};
