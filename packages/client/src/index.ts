/**
 * Typed client of a Blixard cluster over its HTTP API, or over the RPC lane with a key of its own: finds a node that serves, proves who it is by its key, retries
 * with idempotency keys, and waits for what was asked for.
 */

export type { PinStore } from "@blixard/identity";
export type { NodeAddress } from "./address.ts";
export { parseNodeAddress } from "./address.ts";
export type { ClientOptions, ClientTarget, RpcTarget } from "./blixard-client.ts";
export { BlixardClient, connectClient } from "./blixard-client.ts";
export type { CallOptions, StreamOptions } from "./call-types.ts";
export type { WaitOptions } from "./groups.ts";
export type { LocalNode, RuntimeFile } from "./local-nodes.ts";
export {
  defaultDataRoot,
  findLocalNode,
  findOwnNodes,
  listOwnNodes,
  localTarget,
  ownStatusTarget,
  readLocalNode,
} from "./local-nodes.ts";
export { RetryClient } from "./retry-client.ts";
export type { RpcCaller, RpcEndpoint, RpcStreamCaller } from "./rpc-channel.ts";
export { answeringFirst, redeemTicket } from "./rpc-channel.ts";
