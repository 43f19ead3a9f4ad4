/**
 * The console of a VM as a websocket at `/v1/vms/{name}/console`: binary frames of serial output out, binary frames of
 * input in. `?offset=` is where the output starts; negative counts from its end. A browser, which cannot set headers,
 * gives its token as the subprotocol `bearer.<token>` beside `blixard.console`.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { assertAtMost, BlixardError, isBlixardError, messageOf, notApplied, PieceQueue, toHex } from "@blixard/common";
import { authorize, type CallMeta, nodeRoutes, type StreamOutputOf, streams } from "@blixard/protocol";
import { WebSocket, WebSocketServer } from "ws";
import { checkHostAndOrigin, checkOneHost, checkPath } from "./host-guard.ts";
import { errorAnswer } from "./http-errors.ts";
import { type HttpOptions, type HttpParts, httpLimits } from "./http-types.ts";
import { bindHttpMetrics } from "./metrics.ts";
import type { Caller } from "./node-service.ts";
import { authenticate } from "./route-context.ts";

export type UpgradeHandler = (incoming: IncomingMessage, socket: Duplex, head: Buffer) => void;

export interface ConsoleSockets {
  readonly onUpgrade: UpgradeHandler;
  /** Ends all sessions. */
  close(): void;
}

const subprotocol = "blixard.console";
const consolePath = new RegExp(`^${nodeRoutes.console.path.replace("{name}", "([^/]+)")}$`);
const inputPendingMax = 256;
const inputPieceBytesMax = 16 * 1024;
const backlogBytesDefault = 4 * 1024;
const { consolePendingBytesMax } = httpLimits;
assertAtMost({ inputPieceBytesMax, backlogBytesDefault }, { consolePendingBytesMax }, "what is pending holds a piece");

export function createConsoleSockets(deps: HttpParts, options: HttpOptions): ConsoleSockets {
  const allowedHosts = new Set([...options.allowedHosts, deps.endpointId].map((host) => host.toLowerCase()));
  const gauge = bindHttpMetrics(deps.metrics).consoles;
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: httpLimits.consolePendingBytesMax,
    handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
  });
  const accept = async (incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    checkOneHost(incoming.rawHeaders);
    checkHostAndOrigin(allowedHosts, incoming.headers.host, incoming.headers.origin);
    checkPath(incoming.url);
    const url = urlOf(incoming);
    const name = consolePath.exec(url.pathname)?.[1];
    const caller = await authenticate(deps, incoming.socket, authorizationOf(incoming));
    authorize("vm.console", streams["vm.console"].access, caller.access);
    if (name === undefined) throw new BlixardError("NOT_FOUND", `there is no websocket at ${url.pathname}`);
    if (server.clients.size >= httpLimits.consoleSessionsMax) {
      throw new BlixardError("OVERLOADED", `${server.clients.size} consoles are open already`);
    }
    // Accepted or refused while an HTTP status can still be given.
    const session = await openSession(deps, decodeURIComponent(name), offsetOf(url), caller);
    socket.once("close", () => session.close());
    if (socket.destroyed) return session.close();
    server.handleUpgrade(incoming, socket, head, (webSocket) => {
      gauge.set(server.clients.size);
      webSocket.once("close", () => gauge.set(server.clients.size));
      runSession(webSocket, session);
    });
  };
  return {
    onUpgrade: (incoming, socket, head) => {
      socket.on("error", () => {});
      accept(incoming, socket, head).catch((error: unknown) => refuse(deps, socket, error));
    },
    close: () => {
      for (const client of server.clients) client.close(1001, "the node stops");
      server.close();
    },
  };
}

interface Session {
  readonly input: PieceQueue;
  readonly output: AsyncIterable<StreamOutputOf<"vm.console">>;
  close(): void;
}

async function openSession(deps: HttpParts, name: string, offset: number, caller: Caller): Promise<Session> {
  const left = new AbortController();
  const input = new PieceQueue(inputPieceBytesMax);
  const meta: CallMeta = {
    requestId: toHex(deps.random.bytes(16)),
    actor: caller.actor,
    access: caller.access,
    timeoutMs: httpLimits.callTimeoutMsDefault,
    stale: false,
    hops: 0,
  };
  const scope = { signal: left.signal, input: input.pieces() };
  const output = await deps.service().stream("vm.console", { name, offset }, meta, scope);
  const close = () => {
    input.end();
    left.abort(new BlixardError("CANCELLED", "the console was left"));
  };
  return { input, output, close };
}

/** Two independent halves: output is asked for as it can be sent, so a slow viewer slows only itself; input is in order. */
function runSession(webSocket: WebSocket, session: Session): void {
  const end = (error: unknown) => webSocket.close(1011, closeReason(error));
  webSocket.on("error", () => webSocket.terminate());
  webSocket.on("message", (data) => {
    if (session.input.length >= inputPendingMax) {
      end(new BlixardError("OVERLOADED", "input comes faster than the VM takes it"));
      return;
    }
    session.input.push(Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer));
  });
  sendOutput(webSocket, session).catch(end);
}

async function sendOutput(webSocket: WebSocket, session: Session): Promise<void> {
  for await (const { data } of session.output) {
    if (webSocket.readyState !== WebSocket.OPEN) return;
    if (data.length > 0) await send(webSocket, data);
  }
}

function send(webSocket: WebSocket, data: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    webSocket.send(data, { binary: true }, (error) => (error ? reject(error) : resolve()));
  });
}

/** A close reason has at most 123 bytes (RFC 6455, 5.5). */
function closeReason(error: unknown): string {
  const text = isBlixardError(error) ? `${error.code}: ${messageOf(error)}` : "the console ended unexpectedly";
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

function offsetOf(url: URL): number {
  const text = url.searchParams.get("offset") ?? String(-backlogBytesDefault);
  if (/^-?\d{1,15}$/.test(text)) return Number(text);
  throw new BlixardError("INVALID_ARGUMENT", `"${text}" is no byte offset`);
}

function refuse(deps: HttpParts, socket: Duplex, error: unknown): void {
  const { status, body } = errorAnswer(error, "", false, deps.logger);
  const text = JSON.stringify(body);
  const head = `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}`;
  socket.end(`${head}\r\nconnection: close\r\n\r\n${text}`);
}
