/** Metrics of the doors of a node: the places for connections. */
import { type BoundMetrics, bindMetrics, type MetricDeclarations, type Metrics } from "@blixard/common";

const doors = [
  "handshake",
  "http_stranger",
  "http_caller",
  "grpc_stranger",
  "grpc_member",
  "rpc_stranger",
  "bulk",
] as const;
/** What a place is for. */
export type Door = (typeof doors)[number];

const declarations = {
  evictions: {
    type: "counter",
    name: "blixard_connections_evicted_total",
    help: "Connections that were ended because others needed their places, by door.",
    labels: { door: doors },
  },
} as const satisfies MetricDeclarations;

export function bindDoorMetrics(metrics: Metrics): BoundMetrics<typeof declarations> {
  return bindMetrics(metrics, declarations);
}
