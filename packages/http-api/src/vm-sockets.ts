/**
 * Websockets into VMs: the serial console, and connections to ports. A browser, which cannot set headers, gives its token as the
 * subprotocol `bearer.<token>` beside that of the websocket.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { BlixardError, isBlixardError, messageOf, notApplied, toHex } from "@blixard/common";
import { authorize, type CallMeta, streams } from "@blixard/protocol";
import { WebSocketServer } from "ws";
import { consoleSocket } from "./console-socket.ts";
import { forwardSocket } from "./forward-socket.ts";
import { HostGuard } from "./host-guard.ts";
import { errorAnswer } from "./http-errors.ts";
import { type HttpOptions, type HttpParts, httpLimits } from "./http-types.ts";
import { bindHttpMetrics } from "./metrics.ts";
import type { Caller } from "./node-service.ts";
import { authenticate } from "./route-context.ts";
import type { OpenStream, SocketKind } from "./socket-kind.ts";

export type UpgradeHandler = (incoming: IncomingMessage, socket: Duplex, head: Buffer) => void;

export interface VmSockets {
  readonly onUpgrade: UpgradeHandler;
  /** Ends all sessions. */
  close(): void;
}

const kinds: readonly SocketKind[] = [consoleSocket, forwardSocket];

export function createVmSockets(deps: HttpParts, options: HttpOptions): VmSockets {
  const guard = new HostGuard([...options.allowedHosts, deps.endpointId]);
  const metrics = bindHttpMetrics(deps.metrics);
  const servers = new Map(kinds.map((kind) => [kind, serverOf(kind)]));
  const accept = async (incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    guard.check(incoming);
    const url = urlOf(incoming);
    const kind = kinds.find(({ path }) => path.test(url.pathname));
    const caller = authenticate(deps, incoming.socket, authorizationOf(incoming));
    const { stream } = kind ?? consoleSocket;
    authorize(stream, streams[stream].access, caller.access);
    const server = kind === undefined ? undefined : servers.get(kind);
    if (kind === undefined || server === undefined) {
      throw new BlixardError("NOT_FOUND", `there is no websocket at ${url.pathname}`);
    }
    if (server.clients.size >= kind.sessionsMax) {
      throw new BlixardError("OVERLOADED", `${server.clients.size} such websockets are open already`);
    }
    const left = new AbortController();
    const parts = (kind.path.exec(url.pathname) ?? []).slice(1).map((part) => decodeURIComponent(part));
    // Accepted or refused while an HTTP status can still be given.
    const session = await kind.open(parts, url.searchParams, streamOpener(deps, caller, left.signal));
    const leave = () => {
      session.end();
      left.abort(new BlixardError("CANCELLED", "the websocket was left"));
    };
    socket.once("close", leave);
    if (socket.destroyed) return leave();
    const gauge = metrics[kind.gauge];
    server.handleUpgrade(incoming, socket, head, (webSocket) => {
      gauge.set(server.clients.size);
      webSocket.once("close", () => gauge.set(server.clients.size));
      webSocket.on("error", () => webSocket.terminate());
      session.run(webSocket).catch((error: unknown) => {
        webSocket.resume();
        webSocket.close(1011, closeReason(error));
      });
    });
  };
  return {
    onUpgrade: (incoming, socket, head) => {
      socket.on("error", () => {});
      accept(incoming, socket, head).catch((error: unknown) => refuse(deps, socket, error));
    },
    close: () => {
      for (const server of servers.values()) {
        for (const client of server.clients) client.close(1001, "the node stops");
        server.close();
      }
    },
  };
}

function serverOf({ subprotocol }: SocketKind): WebSocketServer {
  return new WebSocketServer({
    noServer: true,
    maxPayload: httpLimits.consolePendingBytesMax,
    handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
  });
}

function streamOpener(deps: HttpParts, caller: Caller, signal: AbortSignal): OpenStream {
  const meta: CallMeta = {
    requestId: toHex(deps.random.bytes(16)),
    actor: caller.actor,
    access: caller.access,
    timeoutMs: httpLimits.callTimeoutMsDefault,
    stale: false,
    hops: 0,
  };
  return (name, request, input) =>
    deps.service().stream(name, request, meta, { signal, input: input as AsyncIterable<never> });
}

/** A close reason has at most 123 bytes (RFC 6455, 5.5). */
function closeReason(error: unknown): string {
  const text = isBlixardError(error) ? `${error.code}: ${messageOf(error)}` : "the stream ended unexpectedly";
  return Buffer.from(text).subarray(0, 120).toString("utf8").replaceAll("\ufffd", "");
}

function authorizationOf(incoming: IncomingMessage): string | undefined {
  const { authorization, "sec-websocket-protocol": protocols } = incoming.headers;
  const token = /(?:^|[\s,])bearer\.([^\s,]+)/.exec(protocols ?? "")?.[1];
  return authorization ?? (token === undefined ? undefined : `Bearer ${token}`);
}

/** @throws INVALID_ARGUMENT */
function urlOf({ url = "/" }: IncomingMessage): URL {
  if (url.startsWith("/") && URL.canParse(url, "http://localhost")) return new URL(url, "http://localhost");
  throw notApplied("INVALID_ARGUMENT", "the path of the request cannot be read");
}

function refuse(deps: HttpParts, socket: Duplex, error: unknown): void {
  const { status, body } = errorAnswer(error, "", false, deps.logger);
  const text = JSON.stringify(body);
  const head = `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}`;
  socket.end(`${head}\r\nconnection: close\r\n\r\n${text}`);
}
