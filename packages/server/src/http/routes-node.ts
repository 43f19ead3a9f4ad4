/** Routes about the node itself: liveness, readiness, metrics, the API description and the page. */
import type { Health } from "@blixard/client";
import { openApiDocument } from "./openapi.ts";
import { addRoute, type RouteContext } from "./route-context.ts";
import { statusPage } from "./status-page.ts";

export function addNodeRoutes(context: RouteContext): void {
  const { deps, options } = context;
  const readiness = () => deps.service()?.ready() ?? { ready: false, reason: "the node is starting" };
  addRoute(context, "GET", "/healthz", async (request) => {
    if (!deps.storageHealthy()) {
      const error = { code: "STORAGE_FAILED", message: "storage failed", hint: "See the log.", outcome: "not_applied" };
      return request.json({ healthy: false, error }, 503);
    }
    const health: Health = { healthy: true, nodeId: deps.nodeId, clusterId: deps.clusterId(), ...readiness() };
    return request.json(health);
  });
  addRoute(context, "GET", "/readyz", async (request) => {
    const { ready, reason } = readiness();
    if (ready) return request.json({ ready });
    const error = { code: "UNAVAILABLE", message: reason, hint: null, outcome: "not_applied" };
    return request.json({ ready, error }, 503);
  });
  addRoute(context, "GET", "/metrics", async (request) => {
    await context.authorize(request, "viewer");
    return request.body(await deps.metricsText(), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
  });
  addRoute(context, "GET", "/v1/openapi.json", async (request) => {
    await context.authorize(request, "viewer");
    return request.json(openApiDocument(options));
  });
  addRoute(context, "GET", "/", async (request) => {
    request.header("content-security-policy", statusPage.contentSecurityPolicy);
    return request.html(statusPage.html);
  });
}
