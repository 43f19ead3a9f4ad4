/** One endpoint of a memory network: an adapter with an address, and the connections that it owns. */
import { BlixardError } from "@blixard/common";
import type { Connection, EndpointAddress, Lane } from "../transport-types.ts";
import type { MemoryConnection } from "./memory-connection.ts";
import type { MemoryAdapter, MemoryFabric } from "./memory-network.ts";

export class MemoryEndpoint implements MemoryAdapter {
  readonly kind = "memory";
  readonly endpointId: string;
  readonly #fabric: MemoryFabric;
  readonly #connections = new Set<MemoryConnection>();
  #address: string | undefined;
  #onConnection: ((connection: Connection) => void) | undefined;
  #closed = false;

  constructor(fabric: MemoryFabric, endpointId: string) {
    this.#fabric = fabric;
    this.endpointId = endpointId;
  }

  addresses(): readonly string[] {
    return this.#address === undefined ? [] : [this.#address];
  }

  async listen(onConnection: (connection: Connection) => void): Promise<void> {
    this.#assertOpen();
    this.#onConnection = onConnection;
    this.#address ??= this.#fabric.listen(this);
  }

  async connect(to: EndpointAddress, lane: Lane, options: { readonly signal: AbortSignal }): Promise<Connection> {
    this.#assertOpen();
    return this.#fabric.connect(this, to, lane, options.signal);
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
    if (this.#address !== undefined) this.#fabric.unlisten(this.#address);
  }

  #assertOpen(): void {
    if (this.#closed) throw new BlixardError("STOPPED", "the endpoint is closed");
  }
}
