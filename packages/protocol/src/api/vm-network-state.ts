/** The network cards of a running VM, as its node sees them. */
import { z } from "zod";
import { limits } from "../limits.ts";
import { method } from "./definitions.ts";
import { bridgeNameSchema, nameSchema, nodeIdSchema } from "./values.ts";

/** `idle`: the other node is known, and no frame was for it yet. */
const laneStateSchema = z.enum(["up", "idle", "down"]);

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
