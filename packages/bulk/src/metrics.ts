/** The metrics of the bulk lane. */
import { type BoundMetrics, bindMetrics, type MetricDeclarations, type Metrics } from "@blixard/common";
import { bulkKinds } from "./bulk-types.ts";

const refusals = ["unknown_peer", "bad_request", "too_many_connections", "over_budget"] as const;
/** Why a connection or a request of another node was refused. */
export type BulkRefusal = (typeof refusals)[number];

const declarations = {
  bytes: {
    type: "counter",
    name: "blixard_bulk_bytes_total",
    help: "Bytes of chunks, by direction (sent or received) and route (direct, iroh or rpc).",
    labels: { direction: ["sent", "received"], route: ["direct", "iroh", "rpc"] },
  },
  transfers: {
    type: "counter",
    name: "blixard_bulk_transfers_total",
    help: "Transfers to this node, by kind and result (done, failed or cancelled).",
    labels: { kind: bulkKinds, result: ["done", "failed", "cancelled"] },
  },
  reused: {
    type: "counter",
    name: "blixard_bulk_reused_bytes_total",
    help: "Bytes that a transfer found on the disk, verified, and did not fetch again.",
  },
  sourcesDropped: {
    type: "counter",
    name: "blixard_bulk_sources_dropped_total",
    help: "Sources that a transfer gave up, by reason: lost, missing, busy, bad_chunk or bad_manifest.",
    labels: { reason: ["lost", "missing", "busy", "bad_chunk", "bad_manifest"] },
  },
  refusals: {
    type: "counter",
    name: "blixard_bulk_refusals_total",
    help: "Connections and requests of others that were refused, by reason.",
    labels: { reason: refusals },
  },
  dials: {
    type: "counter",
    name: "blixard_bulk_dials_total",
    help: "Attempts to open a channel to a peer, by route and result (connected or failed).",
    labels: { route: ["direct", "iroh"], result: ["connected", "failed"] },
  },
} as const satisfies MetricDeclarations;

export type BulkMetrics = BoundMetrics<typeof declarations>;

export function bindBulkMetrics(metrics: Metrics): BulkMetrics {
  return bindMetrics(metrics, declarations);
}
