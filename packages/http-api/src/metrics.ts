/** Metrics of the HTTP server. */
import { type BoundMetrics, bindMetrics, type MetricDeclarations, type Metrics } from "@blixard/common";

const declarations = {
  requests: {
    type: "counter",
    name: "blixard_http_requests_total",
    help: "HTTP requests that were answered, by verb, route template and status.",
    labels: { verb: "any", route: "any", status: "any" },
  },
  duration: {
    type: "histogram",
    name: "blixard_http_request_duration_seconds",
    help: "Time from the first byte of an HTTP request to its answer.",
    labels: { verb: "any", route: "any" },
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  streams: {
    type: "gauge",
    name: "blixard_http_streams",
    help: "Open streams: GET requests whose answer does not end.",
  },
  consoles: { type: "gauge", name: "blixard_http_console_sessions", help: "Open websocket consoles of VMs." },
  forwards: { type: "gauge", name: "blixard_http_vm_connections", help: "Open connections to ports of VMs." },
} as const satisfies MetricDeclarations;

export type HttpMetrics = BoundMetrics<typeof declarations>;

export function bindHttpMetrics(metrics: Metrics): HttpMetrics {
  return bindMetrics(metrics, declarations);
}
