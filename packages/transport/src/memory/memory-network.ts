/**
 * A network in memory that behaves as the real one does where it matters: a blocked direction loses nothing but delivers
 * nothing, not even the end of a connection; a dial to an address without a listener pends until the caller gives up; a crash
 * says no goodbye; a loss delays what is behind it on the same stream (QUIC sends it again). Time and chance come from ports.
 */
import { BlixardError, offAbort, onAbort } from "@blixard/common";
import type { EndpointAddress, Lane } from "../transport-types.ts";
import type { Direction, MemoryNetworkDeps } from "./direction.ts";
import { createConnectionPair, type MemoryConnection } from "./memory-connection.ts";
import { type MemoryAdapter, MemoryEndpoint, type MemorySwitch } from "./memory-endpoint.ts";

export interface MemoryNetwork {
  /** An endpoint of this network; `endpointId` has 64 hexadecimal digits. Its address is known after `listen`. */
  createAdapter(options: { readonly endpointId: string }): MemoryAdapter;
  /** Stops delivery from one endpoint to another, in this direction only. */
  block(from: string, to: string): void;
  unblock(from: string, to: string): void;
  /** Blocks both directions. */
  partition(a: string, b: string): void;
  /** Unblocks both directions of a pair, or of all pairs. */
  heal(a?: string, b?: string): void;
  /** The share of writes, 0 to below 1, that must be sent again; each time costs 200 ms. */
  setLoss(from: string, to: string, rate: number): void;
  setLatency(from: string, to: string, latencyMs: number): void;
}

export function createMemoryNetwork(deps: MemoryNetworkDeps): MemoryNetwork {
  const fabric = new MemoryFabric(deps);
  const setBlocked = (from: string, to: string, blocked: boolean) => fabric.setBlocked(from, to, blocked);
  return {
    createAdapter: ({ endpointId }) => new MemoryEndpoint(fabric, endpointId),
    block: (from, to) => setBlocked(from, to, true),
    unblock: (from, to) => setBlocked(from, to, false),
    partition(a, b) {
      setBlocked(a, b, true);
      setBlocked(b, a, true);
    },
    heal(a, b) {
      if (a === undefined || b === undefined) fabric.unblockAll();
      else {
        setBlocked(a, b, false);
        setBlocked(b, a, false);
      }
    },
    setLoss(from, to, rate) {
      fabric.direction(from, to).lossRate = rate;
    },
    setLatency(from, to, latencyMs) {
      fabric.direction(from, to).latencyMs = latencyMs;
    },
  };
}

/** What the endpoints of one network share: its directions, and who listens where. */
class MemoryFabric implements MemorySwitch {
  readonly #deps: MemoryNetworkDeps;
  readonly #directions = new Map<string, Direction>();
  readonly #listeners = new Map<string, MemoryEndpoint>();
  readonly #changed = new Set<() => void>();
  #nextPort = 1;

  constructor(deps: MemoryNetworkDeps) {
    this.#deps = deps;
  }

  direction(from: string, to: string): Direction {
    const key = `${from} ${to}`;
    let direction = this.#directions.get(key);
    if (direction === undefined) {
      direction = { blocked: false, lossRate: 0, latencyMs: 0, waiting: new Set() };
      this.#directions.set(key, direction);
    }
    return direction;
  }

  setBlocked(from: string, to: string, blocked: boolean): void {
    const direction = this.direction(from, to);
    direction.blocked = blocked;
    if (!blocked) this.#wake(direction);
  }

  unblockAll(): void {
    for (const direction of this.#directions.values()) {
      direction.blocked = false;
      this.#wake(direction);
    }
  }

  /** Gives the endpoint a new address. */
  listen(endpoint: MemoryEndpoint): string {
    const address = `memory:${this.#nextPort++}`;
    this.#listeners.set(address, endpoint);
    for (const attempt of [...this.#changed]) attempt();
    return address;
  }

  unlisten(address: string): void {
    this.#listeners.delete(address);
  }

  /** Resolves when the endpoint can be reached, with the caller's half of a new connection. */
  connect(from: MemoryEndpoint, to: EndpointAddress, lane: Lane, signal: AbortSignal) {
    return new Promise<MemoryConnection>((resolve, reject) => {
      const outbound = this.direction(from.endpointId, to.endpointId);
      const inbound = this.direction(to.endpointId, from.endpointId);
      const directions = [outbound, inbound];
      const done = () => {
        offAbort(signal, abort);
        this.#changed.delete(attempt);
        for (const direction of directions) direction.waiting.delete(attempt);
      };
      const abort = () => {
        done();
        reject(new BlixardError("UNREACHABLE", "no answer", { cause: signal.reason }));
      };
      const attempt = () => {
        if (directions.some(({ blocked }) => blocked)) return;
        const found = this.#find(to);
        if (found === undefined) return;
        done();
        if (found.endpointId !== to.endpointId) {
          reject(new BlixardError("UNKNOWN_PEER", "another endpoint answers at this address"));
          return;
        }
        const [here, there] = createConnectionPair(
          this.#deps,
          lane,
          { endpointId: from.endpointId, direction: outbound },
          { endpointId: to.endpointId, direction: inbound },
        );
        from.own(here);
        found.take(there);
        resolve(here);
      };
      if (signal.aborted) return abort();
      onAbort(signal, abort);
      this.#changed.add(attempt);
      for (const direction of directions) direction.waiting.add(attempt);
      attempt();
    });
  }

  #find(to: EndpointAddress): MemoryEndpoint | undefined {
    for (const address of to.addresses) {
      const endpoint = this.#listeners.get(address);
      if (endpoint !== undefined) return endpoint;
    }
    if (to.addresses.length > 0) return undefined;
    return [...this.#listeners.values()].find(({ endpointId }) => endpointId === to.endpointId);
  }

  #wake(direction: Direction): void {
    const waiting = [...direction.waiting];
    for (const attempt of waiting) attempt();
  }
}
