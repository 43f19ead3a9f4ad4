/** What the route files build on: the table of routes, the parts of the node, and who may call. */
import type { Socket } from "node:net";
import { notApplied } from "@blixard/common";
import { authorize, type NodeRoute, nodeRoutes } from "@blixard/protocol";
import type { Answer, Exchange } from "./exchange.ts";
import type { HttpOptions, HttpParts } from "./http-types.ts";
import type { Caller } from "./node-service.ts";
import type { RouteTable } from "./route-table.ts";

export interface RouteContext {
  readonly deps: HttpParts;
  readonly options: HttpOptions;
  readonly routes: RouteTable;
}

/** Somebody without a token, who may call what anyone may. */
export const anonymous: Caller = { actor: { kind: "system", id: "anonymous" }, access: "anyone" };

/** Adds a route of the contract that is no call of the service. `handle` runs for callers that have the right to it. */
export function addNodeRoute(
  { deps, routes }: RouteContext,
  name: keyof typeof nodeRoutes,
  handle: (exchange: Exchange) => Promise<Answer>,
): void {
  const { verb, path, access }: NodeRoute = nodeRoutes[name];
  routes.add(verb, path, async (exchange) => {
    if (access !== "anyone") authorize(path, access, callerOf(deps, exchange).access);
    return handle(exchange);
  });
}

/** Who calls. @throws UNAUTHENTICATED, UNAVAILABLE */
export function callerOf(deps: HttpParts, exchange: Exchange): Caller {
  return authenticate(deps, exchange.incoming.socket, exchange.header("authorization"));
}

/**
 * The holder of the token in an Authorization header that came over `socket`, which is no stranger's from then on.
 * @throws UNAUTHENTICATED, UNAVAILABLE
 */
export function authenticate(deps: HttpParts, socket: Socket, authorization: string | undefined): Caller {
  const token = bearerTokenOf(authorization);
  const { sessions, service } = deps;
  const caller = token === undefined ? undefined : sessions.caller(token, (known) => service().authenticate(known));
  if (caller === undefined) {
    throw notApplied("UNAUTHENTICATED", token === undefined ? "a token is needed" : "the token is not known", {
      hint: "Send `Authorization: Bearer <token>`; the token stands in admin.token of the data directory of a voter.",
    });
  }
  deps.places.authenticated(socket);
  return caller;
}

/** The token in an Authorization header. */
export function bearerTokenOf(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : /^Bearer +(\S{1,512})$/i.exec(authorization)?.[1];
}
