/** The network cards of a running VM, as its node sees them. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { method } from "./definitions.ts";
import { bridgeNameSchema, nameSchema, nodeIdSchema } from "./values.ts";

/** `idle`: the other node is known, and no frame was for it yet. */
const laneStateSchema = z.enum(["up", "idle", "down"]);

/** `opening`: its node has not said yet that it could open it. */
const forwardStateSchema = z.object({
  port: z.int(),
  listen: z.string(),
  protocol: z.enum(["tcp", "udp"]),
  state: z.enum(["open", "opening", "closed"]),
  why: z.string().exactOptional(),
});
export type ForwardState = Readonly<z.infer<typeof forwardStateSchema>>;

const cardStateSchema = z.object({
  network: nameSchema,
  /** Absent in a network with a bridge. */
  address: z.string().exactOptional(),
  mac: z.string(),
  /** What it is plugged in on its node, and the tap by which it is. */
  bridge: bridgeNameSchema.exactOptional(),
  tap: bridgeNameSchema.exactOptional(),
  /** To each other node with VMs in the network. */
  lanes: z.array(z.object({ node: nodeIdSchema, state: laneStateSchema, why: z.string().exactOptional() })),
  /** The ports of the node that lead to it, of a card in the network `user`. */
  forwards: z.array(forwardStateSchema).max(limits.vmForwardsMax).exactOptional(),
});
export type CardState = Readonly<z.infer<typeof cardStateSchema>>;

export const vmNetworkStateMethods = {
  "vm.networkState": method({
    summary: "the network cards of a VM that runs, and which other nodes their frames reach",
    since: 3,
    place: "owner",
    access: "viewer",
    writes: false,
    http: [{ verb: "GET", path: "/v1/vms/{name}/network" }],
    client: { group: "vms", name: "networkState", args: ["name"] },
    request: z.object({ name: nameSchema }).strict(),
    response: z.object({ cards: z.array(cardStateSchema).max(limits.vmNetworksMax) }),
  }),
};
