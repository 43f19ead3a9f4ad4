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
import type { HttpContext, HttpEnv } from "./http-context.ts";
import { errorAnswer } from "./http-errors.ts";
import type { HttpOptions, HttpParts } from "./http-types.ts";
import { bindHttpMetrics } from "./metrics.ts";
import { addPageRoutes } from "./page-routes.ts";
import { authenticate, metaSource, type RouteContext } from "./route-context.ts";
import { RouteList } from "./route-list.ts";
import { addBlobRoute } from "./routes-blobs.ts";
import { addCallRoutes } from "./routes-calls.ts";
import { addNodeRoutes } from "./routes-node.ts";
import { addStreamRoutes } from "./routes-streams.ts";
import { addSessionRoutes } from "./session-routes.ts";

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
    answer: answerer(deps, routes),
  };
  addNodeRoutes(context);
  addPageRoutes(context);
  addSessionRoutes(context);
  addBlobRoute(context);
  // Before the calls: a stream shares its path with one, and its flag tells them apart.
  addStreamRoutes(context);
  addCallRoutes(context);
  app.notFound((request) =>
    context.answer(request, undefined, async () => {
      // A caller without a token is told nothing about routes.
      await context.authenticate(request);
      return routes.refuse(request);
    }),
  );
  app.onError((error, request) => answerError(deps, request, error));
  return guarded(
    getRequestListener((request, env) => app.fetch(request, env)),
    deps,
    options,
  );
}

/**
 * Gives each request its id, answers with the error that its handler throws, and counts it under its route. It stands around
 * each handler and not in front of all of them, because the framework calls a handler that is alone for its path directly;
 * and it writes headers where Node.js keeps them, because those of an answer are dear to make and to read.
 */
function answerer(deps: HttpParts, routes: RouteList): RouteContext["answer"] {
  const { requests, duration } = bindHttpMetrics(deps.metrics);
  return async (request, route, handle) => {
    const startMs = deps.clock.monotonicMs();
    const response = await answered(deps, request, handle);
    const verb = request.req.method;
    const labels = { verb, route: route ?? routes.templateOf(request.req.path) };
    requests.add(1, { ...labels, status: `${response.status}` });
    duration.observe((deps.clock.monotonicMs() - startMs) / 1000, labels);
    return response;
  };
}

async function answered(
  deps: HttpParts,
  request: HttpContext,
  handle: (request: HttpContext) => Promise<Response>,
): Promise<Response> {
  const { outgoing } = request.env;
  outgoing.setHeader("cache-control", "no-store");
  outgoing.setHeader("x-content-type-options", "nosniff");
  try {
    const requestId = requestIdOf(metaSource(request), deps.random);
    request.set("requestId", requestId);
    outgoing.setHeader(headers.requestId, requestId);
    return await handle(request);
  } catch (error) {
    return answerError(deps, request, error);
  }
}

function answerError({ logger }: HttpParts, request: HttpContext, error: unknown): Response {
  const writes = !["GET", "HEAD"].includes(request.req.method);
  const { status, body } = errorAnswer(error, request.get("requestId") ?? "", writes, logger);
  if (status === 401) request.header("www-authenticate", "Bearer");
  return request.json(body, status as 500);
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
