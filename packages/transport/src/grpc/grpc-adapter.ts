/**
 * The gRPC adapter: HTTP/2 over mutual TLS 1.3, where both sides prove their Ed25519 keys: with self-signed certificates,
 * so that the member list is the only trust store, or beside certificates of an operator's CA.
 */
import type { TLSSocket } from "node:tls";
import { BlixardError, type Clock, directAddresses, errorCodeOf, linkSignal } from "@blixard/common";
import { createTlsListener, NodeTls, type TlsListener } from "@blixard/identity";
import { parseBind, reachableAddresses } from "../bind-address.ts";
import { transportLimits } from "../transport-limits.ts";
import type { Connection, Doorkeeper, EndpointAddress, Lane, TransportAdapter } from "../transport-types.ts";
import type { GrpcConnection } from "./grpc-connection.ts";
import { loadGrpc } from "./grpc-module.ts";
import type { GrpcPlaces, GrpcServer } from "./grpc-server.ts";

export interface GrpcAdapterOptions {
  readonly clock: Clock;
  /** The Ed25519 seed of the node, 32 bytes. */
  readonly secretKey: Uint8Array;
  /** What this node shows and demands in TLS, when others use that too. Default: made from the key. */
  readonly tls?: NodeTls;
  /** `IP:PORT`; port 0 lets the system choose. */
  readonly bind: string;
  /**
   * With `own` the adapter binds a TLS listener that speaks only gRPC. With `external` the caller listens at `bind`,
   * asks for certificates, and hands each connection that chose `h2` to `accept`. Default: `own`.
   */
  readonly listener?: "own" | "external";
  /** How many connections there are places for that have named no lane. */
  readonly places?: GrpcPlaces;
}

export interface GrpcAdapter extends TransportAdapter {
  /** Binds the listener; `listen` does it when it was not done before. @throws PORT_IN_USE, INVALID_ARGUMENT, UNSUPPORTED */
  bind(): Promise<void>;
  /** Takes a TLS connection whose handshake is done. Before `listen` it is closed at once. */
  accept(socket: TLSSocket): void;
}

/** Makes an adapter. The gRPC packages are loaded when it binds or dials; UNSUPPORTED then says which are not installed. */
export function createGrpcAdapter(options: GrpcAdapterOptions): GrpcAdapter {
  return new GrpcEndpointAdapter(options);
}

class GrpcEndpointAdapter implements GrpcAdapter {
  readonly kind = "grpc";
  readonly endpointId: string;
  readonly #options: GrpcAdapterOptions;
  readonly #connections = new Set<GrpcConnection>();
  readonly #closing = new AbortController();
  readonly #tls: NodeTls;
  #binding: Promise<TlsListener | undefined> | undefined;
  #addresses: readonly string[] = [];
  #pendingDials = 0;
  #doorkeeper: Doorkeeper | undefined;
  /** Present while it listens. */
  #server: GrpcServer | undefined;

  constructor(options: GrpcAdapterOptions) {
    parseBind(options.bind);
    this.#options = options;
    this.#tls = options.tls ?? new NodeTls({ clock: options.clock, secretKey: options.secretKey });
    this.endpointId = this.#tls.endpointId;
  }

  addresses(): readonly string[] {
    return this.#addresses;
  }

  async bind(): Promise<void> {
    if (this.#closing.signal.aborted) throw closedError();
    this.#binding ??= this.#bindListener().catch((error: unknown) => {
      // A port that is in use now may be free at the next try.
      this.#binding = undefined;
      throw error;
    });
    await this.#binding;
  }

  async listen(onConnection: (connection: Connection) => void, doorkeeper?: Doorkeeper): Promise<void> {
    this.#doorkeeper = doorkeeper;
    await this.bind();
    const { GrpcServer } = await loadGrpc();
    if (this.#closing.signal.aborted) throw closedError();
    const { clock, places } = this.#options;
    this.#server = new GrpcServer({ clock, tls: this.#tls, doorkeeper, places });
    this.#server.listen(onConnection);
  }

  accept(socket: TLSSocket): void {
    if (this.#server === undefined) socket.destroy();
    else this.#server.accept(socket);
  }

  async connect(to: EndpointAddress, lane: Lane, options: { readonly signal: AbortSignal }): Promise<Connection> {
    if (this.#closing.signal.aborted) throw closedError();
    options.signal.throwIfAborted();
    if (directAddresses(to.addresses).length === 0) {
      throw new BlixardError("UNREACHABLE", "no address of the endpoint is known");
    }
    if (this.#pendingDials >= transportLimits.grpcPendingDialsMax) {
      throw new BlixardError("UNREACHABLE", `${this.#pendingDials} dials are pending already`);
    }
    this.#pendingDials++;
    try {
      return await this.#firstOf(to, lane, options.signal);
    } finally {
      this.#pendingDials--;
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(closedError());
    const connections = [...this.#connections];
    this.#server?.close();
    this.#server = undefined;
    for (const connection of connections) connection.close("the endpoint closed");
    await Promise.all(connections.map((connection) => connection.released));
    const listener = await this.#binding?.catch(() => undefined);
    await listener?.close();
  }

  /** Dials all addresses at once: the first that answers with the right key is taken. */
  async #firstOf(to: EndpointAddress, lane: Lane, signal: AbortSignal): Promise<Connection> {
    const { dialGrpc } = await loadGrpc();
    const dialing = linkSignal(signal, this.#closing.signal);
    const { clock } = this.#options;
    const { endpointId } = to;
    const dials = directAddresses(to.addresses)
      .slice(0, transportLimits.grpcAddressesMax)
      .map(async (address) => {
        const connection = await dialGrpc({ clock, address, endpointId, lane, tls: this.#tls, signal: dialing.signal });
        if (dialing.signal.aborted) connection.close("another dial was faster");
        dialing.signal.throwIfAborted();
        dialing.abort(new BlixardError("CANCELLED", "another dial was faster"));
        return connection;
      });
    try {
      const connection = await Promise.any(dials);
      this.#connections.add(connection);
      void connection.closed.then(() => this.#connections.delete(connection));
      return connection;
    } catch (error) {
      throw mostTelling((error as AggregateError).errors);
    } finally {
      dialing.release();
    }
  }

  async #bindListener(): Promise<TlsListener | undefined> {
    await loadGrpc();
    const { host, port } = parseBind(this.#options.bind);
    if (this.#options.listener === "external") {
      this.#addresses = reachableAddresses(host, port);
      return undefined;
    }
    const onEvicted = (share: string) => this.#doorkeeper?.evicted("handshake", share);
    const tls = { host, port, ...this.#tls.shown(), alpnProtocols: ["h2"], requestCert: true, onEvicted };
    const listener = await createTlsListener(tls, (socket) => this.accept(socket));
    this.#tls.onChange(() => listener.setCertificate(this.#tls.shown()));
    this.#addresses = reachableAddresses(host, listener.port);
    return listener;
  }
}

/** Picks the error of an address that answered wrongly: it says more than one that did not answer. */
function mostTelling(errors: readonly unknown[]): unknown {
  return errors.find((error) => errorCodeOf(error) !== "UNREACHABLE") ?? errors[0];
}

function closedError(): BlixardError {
  return new BlixardError("STOPPED", "the endpoint is closed");
}
