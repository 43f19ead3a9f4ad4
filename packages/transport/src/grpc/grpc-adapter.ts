/**
 * The gRPC adapter: HTTP/2 over mutual TLS 1.3, where both sides prove their Ed25519 keys with self-signed certificates.
 * The member list is the only trust store; the dates in a certificate say nothing that it does not.
 */
import { createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import { BlixardError, type Clock, errorCodeOf } from "@blixard/common";
import { parseBind, reachableAddresses } from "../bind-address.ts";
import { createNodeCertificate, type NodeCertificate } from "../identity/node-certificate.ts";
import { createTlsListener, type TlsListener } from "../identity/tls-listener.ts";
import { transportLimits } from "../transport-limits.ts";
import type { Connection, EndpointAddress, Lane, TransportAdapter } from "../transport-types.ts";
import type { GrpcConnection } from "./grpc-connection.ts";
import { dialGrpc } from "./grpc-dial.ts";
import { GrpcServer } from "./grpc-server.ts";

export interface GrpcAdapterOptions {
  readonly clock: Clock;
  /** The Ed25519 seed of the node, 32 bytes. */
  readonly secretKey: Uint8Array;
  /** `IP:PORT`; port 0 lets the system choose. */
  readonly bind: string;
  /**
   * `own` binds a TLS listener that speaks nothing but gRPC. With `external` somebody else listens at `bind`, asks for
   * certificates there, and hands over with `accept` what chose `h2`. Default: `own`.
   */
  readonly listener?: "own" | "external";
}

export interface GrpcAdapter extends TransportAdapter {
  /** Binds the listener; `listen` does it when it was not done before. @throws PORT_IN_USE, INVALID_ARGUMENT */
  bind(): Promise<void>;
  /** Takes a TLS connection whose handshake is done. Before `listen` it is closed at once. */
  accept(socket: TLSSocket): void;
}

/** How long a certificate of this node is used for dials. */
const certificateMs = 24 * 3_600_000;

export function createGrpcAdapter(options: GrpcAdapterOptions): GrpcAdapter {
  return new GrpcEndpointAdapter(options);
}

class GrpcEndpointAdapter implements GrpcAdapter {
  readonly kind = "grpc";
  readonly endpointId: string;
  readonly #options: GrpcAdapterOptions;
  readonly #server: GrpcServer;
  readonly #connections = new Set<GrpcConnection>();
  readonly #closing = new AbortController();
  #certificate: NodeCertificate;
  #secure: { readonly context: SecureContext; readonly untilMs: number } | undefined;
  #binding: Promise<TlsListener | undefined> | undefined;
  #addresses: readonly string[] = [];
  #pendingDials = 0;
  #listening = false;

  constructor(options: GrpcAdapterOptions) {
    parseBind(options.bind);
    this.#options = options;
    this.#certificate = createNodeCertificate(options.secretKey, { clock: options.clock });
    this.endpointId = this.#certificate.endpointId;
    this.#server = new GrpcServer(options.clock);
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

  async listen(onConnection: (connection: Connection) => void): Promise<void> {
    await this.bind();
    this.#listening = true;
    this.#server.listen(onConnection);
  }

  accept(socket: TLSSocket): void {
    if (this.#listening) this.#server.accept(socket);
    else socket.destroy();
  }

  async connect(to: EndpointAddress, lane: Lane, options: { readonly signal: AbortSignal }): Promise<Connection> {
    if (this.#closing.signal.aborted) throw closedError();
    options.signal.throwIfAborted();
    if (to.addresses.length === 0) throw new BlixardError("UNREACHABLE", "no address of the endpoint is known");
    if (this.#pendingDials >= transportLimits.grpcPendingDialsMax) {
      throw new BlixardError("UNREACHABLE", `${this.#pendingDials} dials are pending already`);
    }
    this.#pendingDials++;
    try {
      return await this.#firstOf(to, lane, AbortSignal.any([options.signal, this.#closing.signal]));
    } finally {
      this.#pendingDials--;
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(closedError());
    this.#listening = false;
    const connections = [...this.#connections];
    this.#server.close();
    for (const connection of connections) connection.close("the endpoint closed");
    await Promise.all(connections.map((connection) => connection.released));
    const listener = await this.#binding?.catch(() => undefined);
    await listener?.close();
  }

  /** Dials all addresses at once: the first that answers with the right key is taken. */
  async #firstOf(to: EndpointAddress, lane: Lane, signal: AbortSignal): Promise<Connection> {
    const settled = new AbortController();
    const any = AbortSignal.any([signal, settled.signal]);
    const { clock } = this.#options;
    const { endpointId } = to;
    const secureContext = this.#secureContext();
    const dials = to.addresses.slice(0, transportLimits.grpcAddressesMax).map(async (address) => {
      const connection = await dialGrpc({ clock, address, endpointId, lane, secureContext, signal: any });
      if (any.aborted) connection.close("another dial was faster");
      any.throwIfAborted();
      settled.abort(new BlixardError("CANCELLED", "another dial was faster"));
      return connection;
    });
    try {
      const connection = await Promise.any(dials);
      this.#connections.add(connection);
      void connection.closed.then(() => this.#connections.delete(connection));
      return connection;
    } catch (error) {
      throw mostTelling((error as AggregateError).errors);
    }
  }

  async #bindListener(): Promise<TlsListener | undefined> {
    const { host, port } = parseBind(this.#options.bind);
    if (this.#options.listener === "external") {
      this.#addresses = reachableAddresses(host, port);
      return undefined;
    }
    const { key, cert } = this.#certificate;
    const tls = { host, port, key, cert, alpnProtocols: ["h2"], requestCert: true };
    const listener = await createTlsListener(tls, (socket) => this.accept(socket));
    this.#addresses = reachableAddresses(host, listener.port);
    return listener;
  }

  #secureContext(): SecureContext {
    const { clock, secretKey } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#secure === undefined || nowMs > this.#secure.untilMs) {
      this.#certificate = createNodeCertificate(secretKey, { clock });
      const { key, cert } = this.#certificate;
      const context = createSecureContext({ key, cert, minVersion: "TLSv1.3" });
      this.#secure = { context, untilMs: nowMs + certificateMs };
    }
    return this.#secure.context;
  }
}

/** Of several addresses of one endpoint, one that answered wrongly says more than one that did not answer. */
function mostTelling(errors: readonly unknown[]): unknown {
  return errors.find((error) => errorCodeOf(error) !== "UNREACHABLE") ?? errors[0];
}

function closedError(): BlixardError {
  return new BlixardError("STOPPED", "the endpoint is closed");
}
