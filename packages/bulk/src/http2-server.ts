/** The direct route, at the source: HTTP/2 over TLS connections of the bind port that chose the ALPN of the lane. */
import { performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { TLSSocket } from "node:tls";
import { endpointIdOf } from "@blixard/identity";
import { bulkLimits } from "./bulk-limits.ts";
import type { BulkRequestHandler } from "./bulk-request-handler.ts";
import { statusOf } from "./bulk-status.ts";

const mebibyte = 1024 * 1024;

export class BulkHttp2Server {
  readonly #requests: BulkRequestHandler;
  readonly #sessions = new Map<ServerHttp2Session, string>();

  constructor(requests: BulkRequestHandler) {
    this.#requests = requests;
  }

  /** Takes a TLS connection whose handshake is done. */
  accept(socket: TLSSocket): void {
    const endpointId = endpointIdOf(socket);
    // A reset is no error here. Without a listener it would end the process.
    socket.on("error", () => {});
    if (!this.#requests.admits(endpointId) || endpointId === undefined || !this.#hasRoom(endpointId)) {
      socket.destroy();
      return;
    }
    const session = performServerHandshake(socket, {
      maxSessionMemory: (bulkLimits.streamsPerSessionMax * bulkLimits.chunkBytesMax) / mebibyte + 4,
      settings: {
        enablePush: false,
        maxConcurrentStreams: bulkLimits.streamsPerSessionMax,
        maxHeaderListSize: bulkLimits.headerBytesMax,
      },
    });
    this.#sessions.set(session, endpointId);
    session.on("error", () => {});
    session.once("close", () => this.#sessions.delete(session));
    session.setTimeout(bulkLimits.idleCloseMs, () => session.close());
    session.on("stream", (stream, headers) => {
      const path = headers[":method"] === "GET" ? String(headers[":path"]) : "";
      void this.#answer(stream, endpointId, path);
    });
  }

  close(): void {
    for (const session of this.#sessions.keys()) session.destroy();
  }

  #hasRoom(endpointId: string): boolean {
    let ofPeer = 0;
    for (const other of this.#sessions.values()) if (other === endpointId) ofPeer++;
    if (this.#sessions.size < bulkLimits.sessionsMax && ofPeer < bulkLimits.sessionsPerPeerMax) return true;
    this.#requests.refused("too_many_connections");
    return false;
  }

  async #answer(stream: ServerHttp2Stream, endpointId: string, path: string): Promise<void> {
    stream.on("error", () => {});
    // The body of a request is ignored.
    stream.resume();
    try {
      await this.#requests.answer({ endpointId, path, route: "direct" }, (bytes) => send(stream, bytes));
    } catch (error) {
      if (stream.destroyed || stream.headersSent) return;
      stream.respond({ ":status": statusOf(error) }, { endStream: true });
    }
  }
}

/** Resolves when the bytes have left, or never will. */
function send(stream: ServerHttp2Stream, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) return resolve();
    // A reader that takes nothing does not hold a chunk for ever.
    stream.setTimeout(bulkLimits.stallMs, () => stream.close());
    stream.once("close", resolve);
    stream.respond({ ":status": 200, "content-length": bytes.length });
    stream.end(bytes);
  });
}
