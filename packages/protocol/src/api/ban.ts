/** Bans: keys of nodes that somebody else may hold. They are refused for good, under whatever id and with whatever ticket. */
import { z } from "zod";
import { command, method } from "./definitions.ts";
import { listSchema, pageSchema } from "./list.ts";
import { acceptTwoCopiesSchema, memberRoleSchema } from "./node.ts";
import { endpointIdSchema, nodeIdSchema, secretIdSchema, writtenSchema } from "./values.ts";

export const banRecordSchema = z.object({
  endpointId: endpointIdSchema,
  /** The node whose key it was, and what that was when the key was banned: null when it had been removed before. */
  nodeId: nodeIdSchema,
  role: memberRoleSchema.nullable(),
  bannedUnixMs: z.int().min(0),
  index: z.int().min(0),
});
export type BanRecord = Readonly<z.infer<typeof banRecordSchema>>;

/**
 * What a node of each role holds or was shown:
 *
 *     node-key      the private key of the node
 *     own-token     the administrator's token in the data directory of a voter
 *     tickets       those that were open: the state holds what they are checked against
 *     bearer-tokens their texts, which people and programs showed to a voter
 *     made-by-voter tokens and keys of people from its time: a voter speaks for everybody
 *     state         keys and values, specifications of VMs, names and addresses, hashes of tokens
 *     vms           disks, memory and consoles of the VMs that it ran
 *     tls-key       the key of an operator's certificate, where the node has one
 */
export const heldSecretSchema = z.object({
  kind: z.enum(["node-key", "own-token", "tickets", "bearer-tokens", "made-by-voter", "state", "vms", "tls-key"]),
  /** In a sentence. */
  held: z.string(),
  /** Ids of tokens and tickets, or names of VMs. */
  ids: z.array(z.string()),
  /** True when nothing is left to do about it. */
  settled: z.boolean(),
  /** What is to be done, or was done. */
  next: z.string(),
});
export type HeldSecret = z.infer<typeof heldSecretSchema>;

export const banCommands = {
  /**
   * Bans the key, lets its node leave, and takes away what it held: its own token, the rights of its key, and all open
   * tickets. Refused while other VMs than the named ones are placed on the node.
   */
  "ban.add": command({
    since: 3,
    subject: ({ nodeId, endpointId }) => `${nodeId} ${endpointId}`,
    body: z.object({ nodeId: nodeIdSchema, endpointId: endpointIdSchema, acceptTwoCopies: acceptTwoCopiesSchema }),
  }),
};

export const banMethods = {
  "ban.add": method({
    summary: "take a compromised node out: its key is refused for good, and the answer lists what it held",
    since: 3,
    place: "leader",
    access: "admin",
    writes: true,
    http: [{ verb: "POST", path: "/v1/bans", successStatus: 201 }],
    client: { group: "bans", name: "add", args: "request" },
    request: z
      .object({
        /** A member, or a node that was removed. */
        id: nodeIdSchema,
        /** Also when too few of the voters that remain answer. */
        force: z.boolean().default(false),
        acceptTwoCopies: acceptTwoCopiesSchema
          .meta({
            description:
              "names of the VMs placed on the node, all of them; one may go on running there while it is started elsewhere",
          })
          .default([]),
      })
      .strict(),
    response: writtenSchema.extend({
      nodeId: nodeIdSchema,
      endpointId: endpointIdSchema,
      role: memberRoleSchema.nullable(),
      /** Placed nowhere now, and started nowhere by themselves; each may go on running on the node. */
      vms: z.array(z.string()),
      /** Ids of what is good for nothing from this entry on. */
      revoked: z.object({ tokens: z.array(secretIdSchema), tickets: z.array(secretIdSchema) }),
      secrets: z.array(heldSecretSchema),
    }),
  }),
  "ban.list": method({
    summary: "the keys that are refused for good",
    since: 3,
    place: "read",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/bans" }],
    client: { group: "bans", name: "list", args: [], gives: "items", pages: true },
    request: listSchema,
    response: pageSchema(banRecordSchema),
  }),
};
