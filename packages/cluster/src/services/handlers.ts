/** Every method and stream of the service with its handler. */
import type { EntrySteps, ExitSteps, Handlers, StreamHandlers } from "../calls/call-types.ts";
import { leaseHandlers } from "../leases/renew-lease.ts";
import type { NodeParts } from "../node-parts.ts";
import { banHandlers } from "./ban.ts";
import { blobHandlers } from "./blob.ts";
import { certificateHandlers } from "./cert.ts";
import { statusHandlers } from "./cluster.ts";
import { imageHandlers } from "./image.ts";
import { joinEntry, joinHandlers } from "./join.ts";
import { kvHandlers } from "./kv.ts";
import { kvStreams } from "./kv-watch.ts";
import { memberHandlers } from "./member.ts";
import { networkHandlers } from "./network.ts";
import { nodeHandlers } from "./node.ts";
import { nodeKeyHandlers } from "./node-key.ts";
import { nodeWorkHandlers } from "./node-work.ts";
import { operationHandlers } from "./operation.ts";
import { schedulingHandlers } from "./scheduling.ts";
import { securityGroupHandlers } from "./security-group.ts";
import { redeemEntry, TicketDesk, ticketHandlers } from "./ticket.ts";
import { tokenExit, tokenHandlers } from "./token.ts";
import { vmHandlers } from "./vm.ts";
import { vmAgentHandlers } from "./vm-agent.ts";
import { consoleStreams } from "./vm-console.ts";
import { vmDiskHandlers } from "./vm-disk.ts";
import { vmForwardStreams, vmNetworkStateHandlers } from "./vm-forward.ts";
import { vmMigrateHandlers } from "./vm-migrate.ts";
import { vmStreams } from "./vm-watch.ts";
import { volumeHandlers } from "./volume.ts";
import { volumeBytesHandlers } from "./volume-bytes.ts";
import { volumeMoveHandlers } from "./volume-move.ts";

export interface Services {
  readonly handlers: Handlers;
  readonly streamHandlers: StreamHandlers;
  readonly entrySteps: EntrySteps;
  readonly exitSteps: ExitSteps;
}

export function createServices(parts: NodeParts): Services {
  const desk = new TicketDesk(parts);
  return {
    handlers: {
      ...statusHandlers(parts),
      ...kvHandlers(parts),
      ...vmHandlers(parts),
      ...vmAgentHandlers(parts),
      ...vmNetworkStateHandlers(parts),
      ...vmDiskHandlers(parts),
      ...vmMigrateHandlers(parts),
      ...volumeHandlers(parts),
      ...volumeBytesHandlers(parts),
      ...volumeMoveHandlers(parts),
      ...networkHandlers(parts),
      ...securityGroupHandlers(parts),
      ...imageHandlers(parts),
      ...blobHandlers(parts),
      ...nodeHandlers(parts),
      ...leaseHandlers(parts),
      ...nodeKeyHandlers(parts),
      ...nodeWorkHandlers(parts),
      ...operationHandlers(parts),
      ...schedulingHandlers(parts),
      ...memberHandlers(parts),
      ...certificateHandlers(parts),
      ...ticketHandlers(parts),
      ...tokenHandlers(parts),
      ...banHandlers(parts),
      ...joinHandlers(parts),
    },
    streamHandlers: { ...consoleStreams(parts), ...vmForwardStreams(parts), ...kvStreams(parts), ...vmStreams(parts) },
    entrySteps: { ...joinEntry(parts, desk), ...redeemEntry(desk) },
    exitSteps: tokenExit(parts),
  };
}
