/** What the route files build on: the server, its parts, and who may call. */
import type { Socket } from "node:net";
import { notApplied } from "@blixard/common";
import { authorize, type HttpVerb, type NodeRoute, nodeRoutes } from "@blixard/protocol";
import type { Hono } from "hono";
import type { HttpContext, HttpEnv } from "./http-context.ts";
import type { HttpOptions, HttpParts } from "./http-types.ts";
import type { Caller } from "./node-service.ts";
import type { RouteList } from "./route-list.ts";

export interface RouteContext {
  readonly app: Hono<HttpEnv>;
  readonly deps: HttpParts;
  readonly options: HttpOptions;
  readonly routes: RouteList;
  /** Who calls. @throws UNAUTHENTICATED */
  authenticate(context: HttpContext): Promise<Caller>;
  /** Answers with what `handle` gives, or with the error that it throws. `route` is the template, where there is one. */
  answer(
    request: HttpContext,
    route: string | undefined,
    handle: (request: HttpContext) => Promise<Response>,
  ): Promise<Response>;
}

/** Somebody without a token, who may call what anyone may. */
export const anonymous: Caller = { actor: { kind: "system", id: "anonymous" }, access: "anyone" };

/** Adds a route of the contract that is no call of the service. `handle` runs for callers that have the right to it. */
export function addNodeRoute(
  context: RouteContext,
  name: keyof typeof nodeRoutes,
  handle: (request: HttpContext) => Promise<Response>,
): void {
  const { verb, path, access }: NodeRoute = nodeRoutes[name];
  addRoute(context, verb, path, async (request) => {
    if (access !== "anyone") authorize(path, access, (await context.authenticate(request)).access);
    return handle(request);
  });
}

/** Adds one route to the server and to the list that answers about unknown ones. */
export function addRoute(
  context: RouteContext,
  verb: HttpVerb,
  template: string,
  handle: (request: HttpContext) => Promise<Response>,
): void {
  context.routes.add(verb, template);
  context.app.on(verb, honoPath(template), (request) => context.answer(request, template, handle));
}

/** A path of the contract as the server's router writes it. */
export function honoPath(template: string): string {
  return template.replaceAll(/\{(\w+)\}/g, ":$1");
}

/**
 * The holder of the token in an Authorization header that came over `socket`, which is no stranger's from then on.
 * @throws UNAUTHENTICATED, UNAVAILABLE
 */
export async function authenticate(
  deps: HttpParts,
  socket: Socket,
  authorization: string | undefined,
): Promise<Caller> {
  const token = bearerTokenOf(authorization);
  const { sessions, service } = deps;
  const caller =
    token === undefined ? undefined : await sessions.caller(token, (known) => service().authenticate(known));
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
  return /^Bearer +(\S{1,512})$/i.exec(authorization ?? "")?.[1];
}

/** The parts of a request that its meta is read from. */
export function metaSource(request: HttpContext) {
  return { header: (name: string) => request.req.header(name), query: (name: string) => request.req.query(name) };
}
