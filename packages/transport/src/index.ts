/**
 * The transport between nodes: one pooled connection per peer and lane, long-lived streams, gathered frames, own
 * heartbeats and redial, over an adapter (`@blixard/transport/iroh`, `@blixard/transport/memory`).
 */

export type { SharedPort } from "./bind-shared-port.ts";
export { bindSharedPort } from "./bind-shared-port.ts";
export { createTransport } from "./create-transport.ts";
export type { NodeStart } from "./session/node-start.ts";
export { transportLimits } from "./transport-limits.ts";
export type {
  ByteStream,
  Connection,
  EndpointAddress,
  Lane,
  PathChoices,
  Peer,
  PeerSessionStatus,
  RemoteIdentity,
  RpcHandler,
  RpcStreamHandler,
  ServedNode,
  SessionState,
  StreamCallOptions,
  Transport,
  TransportAdapter,
  TransportDeps,
  TransportOptions,
} from "./transport-types.ts";
