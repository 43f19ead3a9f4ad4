/** What each command of the log does, put together from its nouns. */
import type { CommandType } from "@blixard/protocol";
import { banAppliers } from "./ban.ts";
import { clusterAppliers } from "./cluster.ts";
import { imageAppliers } from "./image.ts";
import { kvAppliers } from "./kv.ts";
import { networkAppliers } from "./network.ts";
import { nodeAppliers } from "./node.ts";
import { operationAppliers } from "./operation.ts";
import { quotaAppliers } from "./quota.ts";
import { schedulingAppliers } from "./scheduling.ts";
import { securityGroupAppliers } from "./security-group.ts";
import { ticketAppliers } from "./ticket.ts";
import { tokenAppliers } from "./token.ts";
import type { Applier } from "./types.ts";
import { vmAppliers } from "./vm.ts";
import { volumeAppliers } from "./volume.ts";

/** A command of the contract that no noun applies does not compile here. */
export type Appliers = { readonly [Type in CommandType]: Applier<Type> };

export const appliers: Appliers = {
  ...clusterAppliers,
  ...nodeAppliers,
  ...operationAppliers,
  ...schedulingAppliers,
  ...quotaAppliers,
  ...ticketAppliers,
  ...tokenAppliers,
  ...banAppliers,
  ...imageAppliers,
  ...vmAppliers,
  ...volumeAppliers,
  ...networkAppliers,
  ...securityGroupAppliers,
  ...kvAppliers,
};
