/** Metrics of the HTTP server. */
import type { Metrics } from "@blixard/common";

export function httpMetrics(metrics: Metrics) {
  return {
    requests: metrics.counter({
      name: "blixard_http_requests_total",
      help: "HTTP requests that were answered, by verb, route template and status.",
      labelNames: ["verb", "route", "status"],
    }),
    duration: metrics.histogram({
      name: "blixard_http_request_duration_seconds",
      help: "Time from the first byte of an HTTP request to its answer.",
      labelNames: ["verb", "route"],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    }),
    streams: metrics.gauge({
      name: "blixard_http_streams",
      help: "Open streams: GET requests whose answer does not end.",
    }),
    consoles: metrics.gauge({
      name: "blixard_http_console_sessions",
      help: "Open websocket consoles of VMs.",
    }),
  };
}
