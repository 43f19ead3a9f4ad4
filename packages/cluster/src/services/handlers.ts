/** Every method and stream of the service with its handler. */
import type { EntrySteps, Handlers, StreamHandlers } from "../calls/call-types.ts";
import { certificateHandlers } from "./certificate-service.ts";
import { consoleStreams } from "./console-streams.ts";
import { imageHandlers } from "./image-service.ts";
import { joinEntry, joinHandlers } from "./join-service.ts";
import { kvHandlers } from "./kv-service.ts";
import { kvStreams } from "./kv-watch.ts";
import { memberHandlers } from "./member-service.ts";
import type { ServiceContext } from "./service-context.ts";
import { statusHandlers } from "./status-service.ts";
import { ticketHandlers } from "./ticket-service.ts";
import { tokenHandlers } from "./token-service.ts";
import { vmHandlers } from "./vm-service.ts";

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
    streamHandlers: { ...consoleStreams(context), ...kvStreams(context) },
    entrySteps: joinEntry(context),
  };
}
