/** What the nodes can take, what is taken of it, and what would become of their VMs without one of them. */
import { z } from "zod";
import { method } from "./definitions.ts";
import { nameSchema, nodeIdSchema } from "./values.ts";

const takenSchema = z.object({ used: z.int(), allowed: z.int() });

const nodeRoomSchema = z.object({
  nodeId: nodeIdSchema,
  vms: z.int(),
  vcpus: takenSchema,
  memoryMiB: takenSchema,
  /** Absent for a node that does not say how large its file system is. */
  diskMiB: takenSchema.exactOptional(),
  /** Why nothing is placed there now; absent when something may be. */
  closed: z.string().exactOptional(),
});
export type NodeRoom = Readonly<z.infer<typeof nodeRoomSchema>>;

const lostVmSchema = z.object({
  vm: nameSchema,
  /** `moves`: it is started elsewhere; `pending`: it would be, and fits nowhere; `waits`: it waits for its node. */
  becomes: z.enum(["moves", "pending", "waits"]),
  to: nodeIdSchema.exactOptional(),
  why: z.string(),
});
export type LostVm = Readonly<z.infer<typeof lostVmSchema>>;

export const capacityMethods = {
  "capacity.get": method({
    summary: "what the nodes can take and what is taken; what would become of the VMs of a node if it were lost",
    since: 3,
    place: "leader",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/capacity" }],
    client: { group: "capacity", name: "get", args: "request" },
    request: z.object({ ifLost: nodeIdSchema.exactOptional() }).strict(),
    response: z.object({
      nodes: z.array(nodeRoomSchema),
      /** VMs that wait for room, in the order in which they get it. */
      waiting: z.array(nameSchema),
      /** Of the node that was asked about: its VMs that run, in the order in which they would be moved. */
      lost: z.array(lostVmSchema).exactOptional(),
    }),
  }),
};
