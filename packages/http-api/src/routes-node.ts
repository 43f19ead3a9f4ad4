/** Routes about the node itself: liveness, readiness, metrics and the API description. */
import type { Health } from "@blixard/protocol";
import { jsonAnswer } from "./exchange.ts";
import { openApiDocument } from "./openapi.ts";
import { addNodeRoute, type RouteContext } from "./route-context.ts";

export function addNodeRoutes(context: RouteContext): void {
  const { deps, options } = context;
  const readiness = () => deps.service().ready();
  addNodeRoute(context, "health", async () => {
    if (!deps.storageHealthy()) {
      const error = { code: "STORAGE_FAILED", message: "storage failed", hint: "See the log.", outcome: "not_applied" };
      return jsonAnswer({ healthy: false, error }, 503);
    }
    const health: Health = { healthy: true, nodeId: deps.nodeId, clusterId: deps.clusterId(), ...readiness() };
    return jsonAnswer(health);
  });
  addNodeRoute(context, "readiness", async () => {
    const { ready, reason } = readiness();
    if (ready) return jsonAnswer({ ready });
    const error = { code: "UNAVAILABLE", message: reason, hint: null, outcome: "not_applied" };
    return jsonAnswer({ ready, error }, 503);
  });
  addNodeRoute(context, "metrics", async () => {
    return { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: await deps.metricsText() };
  });
  addNodeRoute(context, "openApi", async () => {
    return jsonAnswer(openApiDocument(options));
  });
}
