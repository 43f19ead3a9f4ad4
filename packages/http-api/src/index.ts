/**
 * The HTTP API of a node over any node service: the routes, streams and console of the contract, behind host and token
 * checks, on a TLS and a plain listener.
 */
export type { RequestHandler } from "./app.ts";
export type { HttpApi } from "./create-http-api.ts";
export { createHttpApi } from "./create-http-api.ts";
export type { HttpDeps, HttpOptions } from "./http-types.ts";
export { httpLimits } from "./http-types.ts";
export type { Listener, ListenerHandlers } from "./listeners.ts";
export { listenPlain, listenTls } from "./listeners.ts";
export type { BlobStore, Caller, NodeService, Readiness } from "./node-service.ts";
export { onlyForThisMachine } from "./this-machine.ts";
export type { UpgradeHandler } from "./vm-sockets.ts";
