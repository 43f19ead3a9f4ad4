/** The direct route, at the source: HTTP/2 over TLS connections of the bind port that chose the ALPN of the lane. */
import { performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { TLSSocket } from "node:tls";
import { BlixardError } from "@blixard/common";
import { type Evictions, endpointIdOf, type NodeTls, SharedPlaces, shareOfAddress } from "@blixard/identity";
import { bulkLimits } from "./bulk-limits.ts";
import type { BulkRequestHandler } from "./bulk-request-handler.ts";
import { statusOf } from "./bulk-status.ts";
import { provedBy } from "./direct-proof.ts";

const mebibyte = 1024 * 1024;

interface Accepted {
  readonly session: ServerHttp2Session;
  readonly socket: TLSSocket;
  /** The key that the other side has proved: in the handshake, or with an operator's CA by its first request. */
  endpointId: string | undefined;
  requests: number;
}

export class BulkHttp2Server {
  readonly #requests: BulkRequestHandler;
  readonly #tls: NodeTls;
  /** Shared by key; before a key is proved, by address. */
  readonly #places: SharedPlaces<Accepted>;

  constructor(requests: BulkRequestHandler, tls: NodeTls, evictions: Evictions) {
    this.#requests = requests;
    this.#tls = tls;
    this.#places = new SharedPlaces({
      placesMax: bulkLimits.sessionsMax,
      spareBusy: true,
      evict: ({ session }, share) => {
        session.destroy();
        evictions.count("bulk", share);
      },
    });
  }

  /** Takes a TLS connection whose handshake is done. */
  accept(socket: TLSSocket): void {
    // A reset is no error here. Without a listener it would end the process.
    socket.on("error", () => {});
    const endpointId = this.#tls.demandsCa ? undefined : endpointIdOf(socket);
    if (!this.#mayOpen(socket, endpointId)) {
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
    const accepted: Accepted = { session, socket, endpointId, requests: 0 };
    session.on("error", () => {});
    if (!this.#takePlace(accepted, endpointId ?? shareOfAddress(socket.remoteAddress))) {
      session.destroy();
      return;
    }
    session.once("close", () => this.#places.leave(accepted));
    session.setTimeout(bulkLimits.idleCloseMs, () => session.close());
    session.on("stream", (stream, headers) => {
      const path = headers[":method"] === "GET" ? String(headers[":path"]) : "";
      this.#count(accepted, 1);
      stream.once("close", () => this.#count(accepted, -1));
      void this.#answer(stream, accepted, path);
    });
  }

  close(): void {
    for (const { session } of [...this.#places.holders()]) session.destroy();
  }

  #mayOpen(socket: TLSSocket, endpointId: string | undefined): boolean {
    if (!this.#tls.demandsCa) return this.#requests.admits(endpointId);
    if (!socket.authorized) this.#requests.refused("unknown_peer");
    return socket.authorized;
  }

  #takePlace(accepted: Accepted, share: string): boolean {
    if (this.#sessionsOf(accepted.endpointId) < bulkLimits.sessionsPerPeerMax && this.#places.take(accepted, share)) {
      return true;
    }
    this.#requests.refused("too_many_connections");
    return false;
  }

  #sessionsOf(endpointId: string | undefined): number {
    let count = 0;
    for (const other of this.#places.holders())
      if (endpointId !== undefined && other.endpointId === endpointId) count++;
    return count;
  }

  #count(accepted: Accepted, change: 1 | -1): void {
    accepted.requests += change;
    this.#places.heard(accepted, accepted.requests > 0);
  }

  async #answer(stream: ServerHttp2Stream, accepted: Accepted, path: string): Promise<void> {
    stream.on("error", () => {});
    // The body of a request is ignored.
    stream.resume();
    try {
      if (this.#tls.demandsCa && accepted.endpointId === undefined) {
        await this.#answerProof(stream, accepted, path);
        return;
      }
      const { endpointId } = accepted;
      await this.#requests.answer({ endpointId, path, route: "direct" }, (bytes) => send(stream, bytes));
    } catch (error) {
      if (stream.destroyed || stream.headersSent) return;
      stream.respond({ ":status": statusOf(error) }, { endStream: true });
    }
  }

  /** @throws PERMISSION_DENIED, OVERLOADED */
  async #answerProof(stream: ServerHttp2Stream, accepted: Accepted, path: string): Promise<void> {
    const endpointId = provedBy(path, this.#tls, accepted.socket);
    if (!this.#requests.admits(endpointId) || endpointId === undefined) {
      throw new BlixardError("PERMISSION_DENIED", "only members may read");
    }
    this.#places.leave(accepted);
    const hasPlace =
      this.#sessionsOf(endpointId) < bulkLimits.sessionsPerPeerMax && this.#places.take(accepted, endpointId);
    if (!hasPlace) {
      this.#requests.refused("too_many_connections");
      accepted.session.close();
      throw new BlixardError("OVERLOADED", "the peer has too many connections");
    }
    accepted.endpointId = endpointId;
    this.#places.heard(accepted, true);
    await send(stream, this.#tls.prove(accepted.socket, "server").proof);
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
