/** The HTTP API over any node service. */
export type { RequestHandler } from "./app.ts";
export { createHttpApp } from "./app.ts";
export type { ConsoleSockets } from "./console-socket.ts";
export { createConsoleSockets } from "./console-socket.ts";
export type { HttpDeps, HttpOptions } from "./http-types.ts";
export type { Listener, ListenerHandlers } from "./listeners.ts";
export { listenPlain, listenTls } from "./listeners.ts";
