/**
 * The HTTP API of a node: the routes of the contract.
 * One request: host and origin, token, route, body, call, answer.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { headers } from "@blixard/protocol";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import { requestIdOf } from "./call-meta.ts";
import { checkHostAndOrigin, checkOneHost, checkPath } from "./host-guard.ts";
import type { HttpEnv } from "./http-context.ts";
import { errorAnswer } from "./http-errors.ts";
import type { HttpOptions, HttpParts } from "./http-types.ts";
import { bindHttpMetrics } from "./metrics.ts";
import { authenticate, metaSource, type RouteContext } from "./route-context.ts";
import { RouteList } from "./route-list.ts";
import { addBlobRoute } from "./routes-blobs.ts";
import { addCallRoutes } from "./routes-calls.ts";
import { addNodeRoutes } from "./routes-node.ts";
import { addStreamRoutes } from "./routes-streams.ts";

export type RequestHandler = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

export function createHttpApp(deps: HttpParts, options: HttpOptions): RequestHandler {
  const app = new Hono<HttpEnv>();
  const routes = new RouteList();
  const context: RouteContext = {
    app,
    deps,
    options,
    routes,
    authenticate: (request) => authenticate(deps, request.env.incoming.socket, request.req.header("authorization")),
  };
  addMeasures(app, deps, routes);
  addNodeRoutes(context);
  addBlobRoute(context);
  // Before the calls: a stream shares its path with one, and its flag tells them apart.
  addStreamRoutes(context);
  addCallRoutes(context);
  app.notFound(async (request) => {
    // A caller without a token is told nothing about routes.
    await context.authenticate(request);
    return routes.refuse(request);
  });
  app.onError((error, request) => {
    const writes = !["GET", "HEAD"].includes(request.req.method);
    const { status, body } = errorAnswer(error, request.get("requestId") ?? "", writes, deps.logger);
    if (status === 401) request.header("www-authenticate", "Bearer");
    return request.json(body, status as 500);
  });
  return guarded(
    getRequestListener((request, env) => app.fetch(request, env)),
    deps,
    options,
  );
}

/** Gives each request its id, and counts it under its route. */
function addMeasures(app: Hono<HttpEnv>, deps: HttpParts, routes: RouteList): void {
  const { requests, duration } = bindHttpMetrics(deps.metrics);
  app.use(async (request, next) => {
    const startMs = deps.clock.monotonicMs();
    const requestId = requestIdOf(metaSource(request), deps.random);
    request.set("requestId", requestId);
    request.header(headers.requestId, requestId);
    request.header("cache-control", "no-store");
    request.header("x-content-type-options", "nosniff");
    await next();
    const labels = {
      verb: request.req.method,
      route: request.get("route") ?? routes.templateOf(request.req.path),
      status: `${request.res.status}`,
    };
    requests.add(1, labels);
    duration.observe((deps.clock.monotonicMs() - startMs) / 1000, { verb: labels.verb, route: labels.route });
  });
}

/** Runs before anything parses the request, because the URL parser already trusts the Host header. */
function guarded(
  listener: (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>,
  deps: HttpParts,
  options: HttpOptions,
): RequestHandler {
  const allowedHosts = new Set([...options.allowedHosts, deps.endpointId].map((host) => host.toLowerCase()));
  return (incoming, outgoing) => {
    try {
      checkOneHost(incoming.rawHeaders);
      checkHostAndOrigin(allowedHosts, incoming.headers.host, incoming.headers.origin);
      checkPath(incoming.url);
    } catch (error) {
      const { status, body } = errorAnswer(error, "", incoming.method !== "GET", deps.logger);
      outgoing.writeHead(status, { "content-type": "application/json", connection: "close" });
      outgoing.end(JSON.stringify(body));
      return;
    }
    incoming.headers.host = "localhost";
    listener(incoming, outgoing).catch((error: unknown) => {
      deps.logger.log("error", "answering failed", { error: String(error) });
      outgoing.destroy();
    });
  };
}
