/** What the route files build on: the server, its parts, and who may call. */

import type { HttpVerb } from "@blixard/client";
import { BlixardError } from "@blixard/common";
import type { MethodAccess } from "@blixard/protocol";
import type { Hono } from "hono";
import type { Caller, NodeService } from "../node-service.ts";
import type { HttpContext, HttpDeps, HttpEnv, HttpOptions } from "./http-types.ts";
import type { RouteList } from "./route-list.ts";

export interface RouteContext {
  readonly app: Hono<HttpEnv>;
  readonly deps: HttpDeps;
  readonly options: HttpOptions;
  readonly routes: RouteList;
  /** The node service. @throws UNAVAILABLE while the node starts */
  service(): NodeService;
  /** Who calls. @throws UNAUTHENTICATED, PERMISSION_DENIED */
  authorize(context: HttpContext, access: MethodAccess): Promise<Caller>;
}

const anonymous: Caller = { actor: { kind: "system", id: "anonymous" }, access: "anyone" };

/** Adds one route to the server and to the list that answers about unknown ones. */
export function addRoute(
  context: RouteContext,
  verb: HttpVerb,
  template: string,
  handle: (request: HttpContext) => Promise<Response>,
): void {
  context.routes.add(verb, template);
  context.app.on(verb, template.replaceAll(/\{(\w+)\}/g, ":$1"), handle);
}

/** The holder of the token in an Authorization header. @throws UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE */
export async function authenticate(
  deps: HttpDeps,
  authorization: string | undefined,
  access: MethodAccess,
): Promise<Caller> {
  if (access === "anyone") return anonymous;
  const token = /^Bearer +(\S{1,512})$/i.exec(authorization ?? "")?.[1];
  const caller = token === undefined ? undefined : await requireService(deps.service()).authenticate(token);
  if (caller === undefined) {
    throw new BlixardError("UNAUTHENTICATED", token === undefined ? "a token is needed" : "the token is not known", {
      outcome: "not_applied",
      hint: "Send `Authorization: Bearer <token>`; the token stands in admin.token of the data directory of a node.",
    });
  }
  if (access === "admin" && caller.access === "viewer") {
    throw new BlixardError("PERMISSION_DENIED", "the token may only read", {
      outcome: "not_applied",
      hint: "Use a token of an administrator.",
    });
  }
  return caller;
}

export function requireService(service: NodeService | undefined): NodeService {
  if (service !== undefined) return service;
  throw new BlixardError("UNAVAILABLE", "the node is starting", { outcome: "not_applied", hint: "Try again soon." });
}

/** The parts of a request that its meta is read from. */
export function metaSource(request: HttpContext) {
  return { header: (name: string) => request.req.header(name), query: (name: string) => request.req.query(name) };
}
