/** Routes about the node itself: liveness, readiness, metrics and the API description. */
import type { Health } from "@blixard/protocol";
import { openApiDocument } from "./openapi.ts";
import { addNodeRoute, type RouteContext } from "./route-context.ts";

export function addNodeRoutes(context: RouteContext): void {
  const { deps, options } = context;
  const readiness = () => deps.service().ready();
  addNodeRoute(context, "health", async (request) => {
    if (!deps.storageHealthy()) {
      const error = { code: "STORAGE_FAILED", message: "storage failed", hint: "See the log.", outcome: "not_applied" };
      return request.json({ healthy: false, error }, 503);
    }
    const health: Health = { healthy: true, nodeId: deps.nodeId, clusterId: deps.clusterId(), ...readiness() };
    return request.json(health);
  });
  addNodeRoute(context, "readiness", async (request) => {
    const { ready, reason } = readiness();
    if (ready) return request.json({ ready });
    const error = { code: "UNAVAILABLE", message: reason, hint: null, outcome: "not_applied" };
    return request.json({ ready, error }, 503);
  });
  addNodeRoute(context, "metrics", async (request) => {
    return request.body(await deps.metricsText(), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
  });
  addNodeRoute(context, "openApi", async (request) => {
    return request.json(openApiDocument(options));
  });
}
