/** One endpoint of a memory network: an adapter with an address, and the connections that it owns. */
import { BlixardError } from "@blixard/common";
import type { Connection, EndpointAddress, Lane, TransportAdapter } from "../transport-types.ts";
import type { MemoryConnection } from "./memory-connection.ts";

export interface MemoryAdapter extends TransportAdapter {
  /** Vanishes without a goodbye, as a killed process does. */
  crash(): void;
}

/** What an endpoint needs of its network. */
export interface MemorySwitch {
  /** Gives the endpoint a new address. */
  listen(endpoint: MemoryEndpoint): string;
  unlisten(address: string): void;
  /** Resolves when the endpoint can be reached, with the caller's half of a new connection. */
  connect(from: MemoryEndpoint, to: EndpointAddress, lane: Lane, signal: AbortSignal): Promise<MemoryConnection>;
}

export class MemoryEndpoint implements MemoryAdapter {
  readonly kind = "memory";
  readonly endpointId: string;
  readonly #network: MemorySwitch;
  readonly #connections = new Set<MemoryConnection>();
  #address: string | undefined;
  #onConnection: ((connection: Connection) => void) | undefined;
  #closed = false;

  constructor(network: MemorySwitch, endpointId: string) {
    this.#network = network;
    this.endpointId = endpointId;
  }

  addresses(): readonly string[] {
    return this.#address === undefined ? [] : [this.#address];
  }

  async listen(onConnection: (connection: Connection) => void): Promise<void> {
    this.#assertOpen();
    this.#onConnection = onConnection;
    this.#address ??= this.#network.listen(this);
  }

  async connect(to: EndpointAddress, lane: Lane, options: { readonly signal: AbortSignal }): Promise<Connection> {
    this.#assertOpen();
    return this.#network.connect(this, to, lane, options.signal);
  }

  async close(): Promise<void> {
    this.#leave();
    for (const connection of [...this.#connections]) connection.close("the endpoint closed");
  }

  crash(): void {
    this.#leave();
    for (const connection of [...this.#connections]) connection.vanish("the endpoint crashed");
  }

  /** Takes a connection that another endpoint dialled. */
  take(connection: MemoryConnection): void {
    this.own(connection);
    this.#onConnection?.(connection);
  }

  own(connection: MemoryConnection): void {
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
  }

  #leave(): void {
    this.#closed = true;
    if (this.#address !== undefined) this.#network.unlisten(this.#address);
  }

  #assertOpen(): void {
    if (this.#closed) throw new BlixardError("STOPPED", "the endpoint is closed");
  }
}
