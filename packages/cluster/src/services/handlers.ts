/** Every method of the service with its handler. */
import type { MethodName, ParsedRequestOf, ResponseOf } from "@blixard/protocol";
import { certificateHandlers } from "./certificate-service.ts";
import { imageHandlers } from "./image-service.ts";
import { joinHandlers } from "./join-service.ts";
import { kvHandlers } from "./kv-service.ts";
import { memberHandlers } from "./member-service.ts";
import type { ServiceCallScope, ServiceContext } from "./service-context.ts";
import { statusHandlers } from "./status-service.ts";
import { ticketHandlers } from "./ticket-service.ts";
import { tokenHandlers } from "./token-service.ts";
import { vmHandlers } from "./vm-service.ts";

/** Runs where `place` of the method says: the router has seen to that, to the schema and to the access. */
export type Handler<Name extends MethodName> = (
  request: ParsedRequestOf<Name>,
  call: ServiceCallScope,
) => Promise<ResponseOf<Name>>;

export type Handlers = { readonly [Name in MethodName]: Handler<Name> };

export function createHandlers(context: ServiceContext): Handlers {
  return {
    ...statusHandlers(context),
    ...kvHandlers(context),
    ...vmHandlers(context),
    ...imageHandlers(context),
    ...memberHandlers(context),
    ...certificateHandlers(context),
    ...ticketHandlers(context),
    ...tokenHandlers(context),
    ...joinHandlers(context),
  };
}
