/** The two listeners of a node: TLS with the node's certificate on the bind port, plain HTTP on its own; one handler. */
import { createServer as createHttpServer, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import {
  BlixardError,
  exhaustionOf,
  formatHostPort,
  reasonOf,
  requireHostPort,
  systemErrorCodeOf,
} from "@blixard/common";
import { followSockets, type NodeTls } from "@blixard/identity";
import { nodeKeyTls } from "@blixard/protocol";
import type { RequestHandler } from "./app.ts";
import type { HttpPlaces } from "./http-places.ts";
import { httpLimits } from "./http-types.ts";
import type { UpgradeHandler } from "./vm-sockets.ts";

export interface ListenerHandlers {
  readonly onRequest: RequestHandler;
  readonly onUpgrade: UpgradeHandler;
  /** The places for connections; several listeners may share them. */
  readonly places: HttpPlaces;
}

export interface TlsListenerHandlers extends ListenerHandlers {
  /**
   * Who takes the connections on which another protocol than HTTP/1.1 was agreed on, by its name in the handshake.
   * Clients are then asked for a certificate; any is taken, and none is no error.
   */
  readonly protocols: Readonly<Record<string, (socket: TLSSocket) => void>>;
}

export interface Listener {
  /** `host:port` that was bound. */
  readonly address: string;
  readonly port: number;
  /** Takes no new connections, lets requests in flight end for up to `graceMs`, then cuts the rest. */
  close(graceMs: number): Promise<void>;
}

/** @throws PORT_IN_USE, INVALID_ARGUMENT */
export function listenPlain(bind: string, handlers: ListenerHandlers, flag: string): Promise<Listener> {
  const server = createHttpServer({ maxHeaderSize: httpLimits.headerBytesMax });
  server.on("connection", (socket) => handlers.places.arrived(socket));
  return listen(server, () => server.closeAllConnections(), { bind, handlers, flag });
}

/**
 * Shows whoever asks by name the certificate of the node's key, which clients pin; and everybody else the operator's, if
 * there is one. @throws PORT_IN_USE, INVALID_ARGUMENT
 */
export async function listenTls(
  bind: string,
  tls: NodeTls,
  handlers: TlsListenerHandlers,
  flag: string,
): Promise<Listener> {
  const others = Object.keys(handlers.protocols);
  const server = createHttpsServer({
    ...tls.shown(),
    SNICallback: (name, answer) => answer(null, name === nodeKeyTls.servername ? tls.nodeKeyContext() : undefined),
    minVersion: "TLSv1.3",
    maxHeaderSize: httpLimits.headerBytesMax,
    // The order is the preference: curl and browsers speak both and want the HTTP API.
    ALPNProtocols: ["http/1.1", ...others],
    requestCert: others.length > 0,
    rejectUnauthorized: false,
    handshakeTimeout: httpLimits.handshakeTimeoutMs,
  });
  divert(server, handlers);
  tls.onChange(() => server.setSecureContext({ ...tls.shown(), minVersion: "TLSv1.3" }));
  const endAll = followSockets(server, { onEvicted: (share) => handlers.places.lostHandshake(share) });
  return await listen(server, endAll, { bind, handlers, flag });
}

/** One port for several protocols: what the handshake agreed on decides who gets the connection. */
function divert(server: HttpsServer, { protocols, places }: TlsListenerHandlers): void {
  const serveHttp = server.listeners("secureConnection");
  server.removeAllListeners("secureConnection");
  server.on("secureConnection", (socket) => {
    const { alpnProtocol } = socket;
    const take = typeof alpnProtocol === "string" ? protocols[alpnProtocol] : undefined;
    if (take !== undefined) {
      take(socket);
      return;
    }
    places.arrived(socket);
    for (const serve of serveHttp) serve.call(server, socket);
  });
}

interface ListenOptions {
  readonly bind: string;
  readonly handlers: ListenerHandlers;
  readonly flag: string;
}

async function listen(server: Server, endAll: () => void, { bind, handlers, flag }: ListenOptions): Promise<Listener> {
  const { host, port } = requireHostPort(bind, flag);
  server.requestTimeout = httpLimits.requestTimeoutMs;
  server.headersTimeout = httpLimits.headersTimeoutMs;
  server.keepAliveTimeout = httpLimits.keepAliveTimeoutMs;
  const { places } = handlers;
  // One function for all of them: an answer knows its request.
  function answered(this: ServerResponse): void {
    places.answered(this.req.socket);
  }
  server.on("request", (incoming, outgoing) => {
    places.requested(incoming.socket);
    outgoing.on("close", answered);
    handlers.onRequest(incoming, outgoing);
  });
  server.on("upgrade", (incoming, socket, head) => {
    places.requested(incoming.socket);
    handlers.onUpgrade(incoming, socket, head);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(listenError(error, bind, flag)));
    server.listen({ host, port }, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    address: formatHostPort(host, bound),
    port: bound,
    close: (graceMs) => closeServer(server, endAll, graceMs),
  };
}

function listenError(error: unknown, bind: string, flag: string): BlixardError {
  const code = systemErrorCodeOf(error);
  if (code === "EADDRINUSE") {
    return new BlixardError("PORT_IN_USE", `port ${bind.replace(/^.*:/, "")} of ${bind} is in use by another process`, {
      cause: error,
      hint: `Stop what uses it, or choose another with ${flag} HOST:PORT (port 0 takes a free one).`,
    });
  }
  if (code === "EACCES" || code === "EADDRNOTAVAIL" || code === "ENOTFOUND") {
    return new BlixardError("INVALID_ARGUMENT", `${flag} ${bind} cannot be bound: ${reasonOf(error)}`, {
      cause: error,
      hint: "Use an address of this machine and a port that this user may bind.",
    });
  }
  return (
    exhaustionOf(error, `listen on ${bind}`) ??
    new BlixardError("INTERNAL", `listen on ${bind}: ${reasonOf(error)}`, { cause: error })
  );
}

function closeServer(server: Server, endAll: () => void, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(endAll, graceMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}
