/** Every method and stream of the service with its handler. */
import type { EntrySteps, Handlers, StreamHandlers } from "../calls/call-types.ts";
import { certificateHandlers } from "./cert.ts";
import { statusHandlers } from "./cluster.ts";
import { imageHandlers } from "./image.ts";
import { joinEntry, joinHandlers } from "./join.ts";
import { kvHandlers } from "./kv.ts";
import { kvStreams } from "./kv-watch.ts";
import { memberHandlers } from "./member.ts";
import type { ServiceContext } from "./service-context.ts";
import { ticketHandlers } from "./ticket.ts";
import { tokenHandlers } from "./token.ts";
import { vmHandlers } from "./vm.ts";
import { consoleStreams } from "./vm-console.ts";
import { vmStreams } from "./vm-watch.ts";

export interface Services {
  readonly handlers: Handlers;
  readonly streamHandlers: StreamHandlers;
  readonly entrySteps: EntrySteps;
}

export function createServices(context: ServiceContext): Services {
  return {
    handlers: {
      ...statusHandlers(context),
      ...kvHandlers(context),
      ...vmHandlers(context),
      ...imageHandlers(context),
      ...memberHandlers(context),
      ...certificateHandlers(context),
      ...ticketHandlers(context),
      ...tokenHandlers(context),
      ...joinHandlers(context),
    },
    streamHandlers: { ...consoleStreams(context), ...kvStreams(context), ...vmStreams(context) },
    entrySteps: joinEntry(context),
  };
}
