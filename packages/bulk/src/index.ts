/**
 * The bulk lane: snapshots and images between members, in chunks that are hashed, resumed and fetched from many sources,
 * over HTTP/2 with mutual TLS on the bind port, over Iroh in a worker where no direct route exists, else over the RPC lane.
 */
export type { BulkLane, BulkLaneDeps } from "./bulk-lane.ts";
export { createBulkLane } from "./bulk-lane.ts";
export { bulkLimits } from "./bulk-limits.ts";
export type {
  BulkChannel,
  BulkFetch,
  BulkFetched,
  BulkIrohSettings,
  BulkKind,
  BulkName,
  BulkObject,
  BulkPeers,
  BulkProviders,
  BulkRequestOptions,
  BulkRoute,
  BulkRouteStatus,
  BulkRpcHandler,
  OpenBulkObject,
} from "./bulk-types.ts";
export { bulkAlpn } from "./direct-channel.ts";
export type { Manifest } from "./manifest.ts";
