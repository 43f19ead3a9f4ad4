/**
 * The Iroh adapter: QUIC with Ed25519 identities over @number0/iroh. This folder deals with all quirks of the binding
 * that were measured; the sessions above know nothing of them.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import {
  BlixardError,
  directAddresses,
  formatHostPort,
  hostOf,
  isLoopbackHost,
  isRelayUrl,
  offAbort,
  onAbort,
  parseHostPort,
} from "@blixard/common";
import { endpointIdOfSeed, shareOfAddress } from "@blixard/identity";
import type { Endpoint, EndpointBuilder, Incoming, Connection as NativeConnection } from "@number0/iroh";
import { parseBind, reachableAddresses, socketsFor } from "../bind-address.ts";
import { lanes as nodeLanes } from "../transport-lanes.ts";
import { transportLimits } from "../transport-limits.ts";
import type { Connection, Doorkeeper, EndpointAddress, Lane, TransportAdapter } from "../transport-types.ts";
import { HandshakeGate } from "./handshake-gate.ts";
import { IrohConnection } from "./iroh-connection.ts";
import { toBindError, toDialError } from "./iroh-errors.ts";
import { type IrohModule, loadIroh, toNative } from "./iroh-module.ts";
import { mayHoldSockets, noteClosedEndpoint, releaseSockets } from "./released-sockets.ts";

export interface IrohAdapterOptions {
  /** The Ed25519 seed of the node, 32 bytes. */
  readonly secretKey: Uint8Array;
  /** `IP:PORT`; port 0 lets the system choose. */
  readonly bind: string;
  /** Whether public relays may carry traffic that has no direct path. Always off on a loopback address. */
  readonly relay: boolean;
  /** Relays of your own, used instead of the public ones. Default: none. */
  readonly relayUrls?: readonly string[];
  /** Whether endpoints are published and looked up by id over DNS. Always off on a loopback address. */
  readonly discovery: boolean;
  /** What the endpoint speaks. Default: the lanes of a node. */
  readonly lanes?: readonly Lane[];
}

export interface IrohAdapter extends TransportAdapter {
  /** Binds the sockets; `listen` does it when it was not done before. @throws PORT_IN_USE, INVALID_ARGUMENT */
  bind(): Promise<void>;
  /** Waits for a relay, and tells how the world reaches this endpoint. Rejects when `signal` aborts, or without relays. */
  online(signal: AbortSignal): Promise<{ readonly relayUrl: string; readonly addresses: readonly string[] }>;
}

/** Binds that may fail because of a closed endpoint of this same process. */
const bindAttemptsMax = 10;

/** The collector of the runtime closes an endpoint, and with it all connections, that nothing refers to any more. */
const liveEndpoints = new Set<Endpoint>();

export function createIrohAdapter(options: IrohAdapterOptions): IrohAdapter {
  return new IrohEndpointAdapter(options);
}

class IrohEndpointAdapter implements IrohAdapter {
  readonly kind = "iroh";
  readonly endpointId: string;
  readonly usesRelay: boolean;
  readonly #options: IrohAdapterOptions;
  readonly #lanes: readonly Lane[];
  readonly #connections = new Set<IrohConnection>();
  readonly #pendingDials = new Map<string, number>();
  readonly #gate = new HandshakeGate();
  #binding: Promise<{ readonly iroh: IrohModule; readonly endpoint: Endpoint }> | undefined;
  #endpoint: Endpoint | undefined;
  #addresses: readonly string[] = [];
  #closed = false;

  constructor(options: IrohAdapterOptions) {
    const { host } = parseBind(options.bind);
    this.usesRelay = options.relay && !isLoopbackHost(host);
    this.#options = options;
    this.#lanes = options.lanes ?? nodeLanes;
    this.endpointId = endpointIdOfSeed(options.secretKey);
  }

  addresses(): readonly string[] {
    // Asked each time, because the watch of the binding ends the process (1.1.0: no reactor where it starts its task).
    const relayUrl = this.usesRelay && !this.#closed ? this.#endpoint?.addr().relayUrl() : undefined;
    return relayUrl ? [...this.#addresses, relayUrl] : this.#addresses;
  }

  async bind(): Promise<void> {
    await this.#bound();
  }

  async online(signal: AbortSignal) {
    const { endpoint } = await this.#bound();
    await firstOf(endpoint.online(), signal, () => {});
    const address = endpoint.addr();
    const relayUrl = address.relayUrl();
    if (relayUrl === null) throw new BlixardError("UNREACHABLE", "the endpoint uses no relay");
    return { relayUrl, addresses: address.directAddresses() };
  }

  async listen(onConnection: (connection: Connection) => void, doorkeeper?: Doorkeeper): Promise<void> {
    const { endpoint } = await this.#bound();
    // It ends with the endpoint; an error on the way there says nothing that `close` does not know.
    void this.#acceptAll(endpoint, onConnection, doorkeeper).catch(() => {});
  }

  async connect(to: EndpointAddress, lane: Lane, options: { readonly signal: AbortSignal }): Promise<Connection> {
    const { signal } = options;
    if (this.#closed) throw new BlixardError("STOPPED", "the endpoint is closed");
    signal.throwIfAborted();
    const pending = this.#pendingDials.get(to.endpointId) ?? 0;
    if (pending >= transportLimits.pendingDialsMax) {
      throw new BlixardError("UNREACHABLE", `${pending} dials to this endpoint are pending already`);
    }
    this.#pendingDials.set(to.endpointId, pending + 1);
    const dial = this.#dial(to, lane).finally(() => this.#forgetDial(to.endpointId));
    return firstOf(dial, signal, (late) => late.close("connected too late"));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const bound = await this.#binding?.catch(() => undefined);
    for (const connection of this.#connections) connection.close("the endpoint closed");
    if (bound === undefined) return;
    await bound.endpoint.close();
    // Nothing may refer to the endpoint from here on: its sockets are freed with its last object.
    liveEndpoints.delete(bound.endpoint);
    this.#binding = undefined;
    this.#endpoint = undefined;
    this.#connections.clear();
    noteClosedEndpoint();
  }

  #bound() {
    if (this.#closed) throw new BlixardError("STOPPED", "the endpoint is closed");
    this.#binding ??= this.#bindEndpoint().catch((error: unknown) => {
      // A port that is in use now may be free at the next try.
      this.#binding = undefined;
      throw error;
    });
    return this.#binding;
  }

  async #bindEndpoint() {
    const iroh = await loadIroh();
    const { host, port } = parseBind(this.#options.bind);
    const endpoint = await this.#bindWithRetry(iroh, socketsFor({ host, port }));
    liveEndpoints.add(endpoint);
    const isSameFamily = (socket: string) => socket.startsWith("[") === host.includes(":");
    const bound = endpoint.boundSockets().find(isSameFamily);
    const boundPort = bound === undefined ? undefined : parseHostPort(bound)?.port;
    this.#addresses = reachableAddresses(host, boundPort ?? port);
    this.#endpoint = endpoint;
    return { iroh, endpoint };
  }

  async #bindWithRetry(iroh: IrohModule, sockets: readonly string[]): Promise<Endpoint> {
    let wanted = sockets;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#bindSockets(iroh, wanted);
      } catch (error) {
        const known = toBindError(error, this.#options.bind);
        // A machine without the other address family has nothing to close off there.
        if (wanted.length > 1 && /cannot assign|not supported/i.test(known.message)) wanted = wanted.slice(0, 1);
        else if (known.code === "PORT_IN_USE" && mayHoldSockets() && attempt < bindAttemptsMax) await releaseSockets();
        else throw known;
      }
    }
  }

  #bindSockets(iroh: IrohModule, sockets: readonly string[]): Promise<Endpoint> {
    const builder = iroh.Endpoint.builder();
    this.#applyPreset(iroh, builder);
    builder.secretKey(toNative(this.#options.secretKey));
    builder.alpns(this.#lanes.map((lane) => toNative(new TextEncoder().encode(lane))));
    for (const socket of sockets) builder.bindAddr(socket);
    return builder.bind();
  }

  #applyPreset(iroh: IrohModule, builder: EndpointBuilder): void {
    const { host } = parseBind(this.#options.bind);
    const { relayUrls = [] } = this.#options;
    const relay = this.usesRelay;
    if (this.#options.discovery && !isLoopbackHost(host)) {
      if (relay) builder.applyN0();
      else builder.applyN0DisableRelay();
    } else {
      builder.applyMinimal();
      builder.relayMode(relay ? iroh.RelayMode.defaultMode() : iroh.RelayMode.disabled());
    }
    if (relay && relayUrls.length > 0) builder.relayMode(iroh.RelayMode.customFromUrls([...relayUrls]));
  }

  async #acceptAll(
    endpoint: Endpoint,
    onConnection: (connection: Connection) => void,
    doorkeeper: Doorkeeper | undefined,
  ): Promise<void> {
    for (let incoming = await endpoint.acceptNext(); incoming !== null; incoming = await endpoint.acceptNext()) {
      // The other side may be gone by the time it is answered.
      void this.#admit(incoming, onConnection, doorkeeper).catch(() => {});
    }
  }

  async #admit(
    incoming: Incoming,
    onConnection: (connection: Connection) => void,
    doorkeeper: Doorkeeper | undefined,
  ): Promise<void> {
    const [from, isProved] = await Promise.all([incoming.remoteAddr(), incoming.remoteAddrValidated()]);
    // All that a relay passes on comes from its one address, which nobody else can bear.
    const share = from.kind === "ip" ? shareOfAddress(hostOf(from.addr ?? "")) : `${from.kind} ${from.addr ?? ""}`;
    const isMemberShare = doorkeeper?.isMemberShare(share) ?? false;
    const arrival = { share, isMemberShare, isProved: isProved || from.kind !== "ip" };
    const admission = this.#gate.enter(performance.now(), arrival);
    if (admission === "enter") await this.#accept(incoming, share, onConnection);
    else if (admission === "prove") await incoming.retry();
    else await incoming.refuse();
  }

  async #accept(incoming: Incoming, share: string, onConnection: (connection: Connection) => void): Promise<void> {
    try {
      const accepting = await incoming.accept();
      const connection = this.#own(await accepting.connect(), share);
      if (this.#closed) connection?.close("the endpoint closed");
      else if (connection !== undefined) onConnection(connection);
    } catch {
      // The other side gave up or has no business here; its own error tells it so.
    } finally {
      this.#gate.leave();
    }
  }

  /** Undefined, and closed, when the connection is for a protocol that is not a lane. */
  #own(native: NativeConnection, share?: string): IrohConnection | undefined {
    const alpn = String.fromCharCode(...native.alpn());
    const lane = this.#lanes.find((known) => known === alpn);
    if (lane === undefined) {
      native.close(0n, []);
      return undefined;
    }
    const connection = new IrohConnection(native, { lane, remoteShare: share, mayBeRelayed: this.usesRelay });
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
    return connection;
  }

  async #dial(to: EndpointAddress, lane: Lane): Promise<IrohConnection> {
    const { iroh, endpoint } = await this.#bound();
    try {
      const id = iroh.EndpointId.fromString(to.endpointId);
      const addresses = await Promise.all(directAddresses(to.addresses).map(resolved));
      const address = new iroh.EndpointAddr(
        id,
        this.usesRelay ? to.addresses.find(isRelayUrl) : undefined,
        addresses.filter((known) => known !== undefined),
      );
      const native = await endpoint.connect(address, toNative(new TextEncoder().encode(lane)));
      const connection = this.#own(native);
      if (connection === undefined)
        throw new BlixardError("UNSUPPORTED_VERSION", "the endpoint speaks another protocol");
      if (this.#closed) connection.close("the endpoint closed");
      return connection;
    } catch (error) {
      throw toDialError(error, to.endpointId);
    }
  }

  #forgetDial(endpointId: string): void {
    const left = (this.#pendingDials.get(endpointId) ?? 1) - 1;
    if (left > 0) this.#pendingDials.set(endpointId, left);
    else this.#pendingDials.delete(endpointId);
  }
}

/** Iroh takes only IP addresses; names are looked up for each dial, because they may move. */
async function resolved(address: string): Promise<string | undefined> {
  const parsed = parseHostPort(address);
  if (parsed === undefined) return undefined;
  if (isIP(parsed.host) !== 0) return address;
  try {
    return formatHostPort((await lookup(parsed.host)).address, parsed.port);
  } catch {
    return undefined;
  }
}

/** The result of `work`, unless `signal` aborts first; what comes too late is handed to `discard`. */
function firstOf<T>(work: Promise<T>, signal: AbortSignal, discard: (late: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(toDialError(signal.reason, ""));
    onAbort(signal, abort);
    work.then(
      (value) => {
        offAbort(signal, abort);
        if (signal.aborted) discard(value);
        else resolve(value);
      },
      (error: unknown) => {
        offAbort(signal, abort);
        reject(error);
      },
    );
  });
}
