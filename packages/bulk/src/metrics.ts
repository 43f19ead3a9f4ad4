/** The metrics of the bulk lane. */
import type { Counter, Metrics } from "@blixard/common";

const declarations = {
  bytes: {
    name: "blixard_bulk_bytes_total",
    help: "Bytes of chunks, by direction (sent or received) and route (direct, iroh or rpc).",
    labelNames: ["direction", "route"],
  },
  transfers: {
    name: "blixard_bulk_transfers_total",
    help: "Transfers to this node, by kind and result (done, failed or cancelled).",
    labelNames: ["kind", "result"],
  },
  reused: {
    name: "blixard_bulk_reused_bytes_total",
    help: "Bytes that a transfer found on the disk, verified, and did not fetch again.",
  },
  sourcesDropped: {
    name: "blixard_bulk_sources_dropped_total",
    help: "Sources that a transfer gave up, by reason: lost, missing, busy, bad_chunk or bad_manifest.",
    labelNames: ["reason"],
  },
  refusals: {
    name: "blixard_bulk_refusals_total",
    help: "Connections and requests of others that were refused, by reason.",
    labelNames: ["reason"],
  },
  dials: {
    name: "blixard_bulk_dials_total",
    help: "Attempts to open a channel to a peer, by route and result (connected or failed).",
    labelNames: ["route", "result"],
  },
} as const;

export type BulkMetrics = { readonly [Name in keyof typeof declarations]: Counter };

export function createBulkMetrics(metrics: Metrics): BulkMetrics {
  const { bytes, transfers, reused, sourcesDropped, refusals, dials } = declarations;
  return {
    bytes: metrics.counter(bytes),
    transfers: metrics.counter(transfers),
    reused: metrics.counter(reused),
    sourcesDropped: metrics.counter(sourcesDropped),
    refusals: metrics.counter(refusals),
    dials: metrics.counter(dials),
  };
}
