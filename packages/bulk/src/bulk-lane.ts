/** The bulk lane of one node: what it gives to the members, and what it fetches from them. */
import type { TLSSocket } from "node:tls";
import { BlixardError, type Clock, type Logger, linkSignal, type Metrics, notApplied } from "@blixard/common";
import { Evictions, NodeTls } from "@blixard/identity";
import { bulkLimits } from "./bulk-limits.ts";
import { BulkRequestHandler } from "./bulk-request-handler.ts";
import { BulkRoutes } from "./bulk-routes.ts";
import type {
  BulkFetch,
  BulkFetched,
  BulkIrohSettings,
  BulkKind,
  BulkName,
  BulkPeers,
  BulkProviders,
  BulkRouteStatus,
  BulkRpcHandler,
  OpenBulkObject,
} from "./bulk-types.ts";
import { ChunkBuffers } from "./chunk-buffers.ts";
import { BulkHttp2Server } from "./http2-server.ts";
import { endpointMethod, IrohRoute } from "./iroh/iroh-route.ts";
import type { Manifest } from "./manifest.ts";
import { type BulkMetrics, bindBulkMetrics } from "./metrics.ts";
import { answerPiece, type CallForPiece, pieceMethod } from "./rpc-pieces.ts";
import { Semaphore } from "./semaphore.ts";
import { SnapshotBudget } from "./snapshot-budget.ts";
import { Sources } from "./sources.ts";
import { Transfer } from "./transfer.ts";

export interface BulkLaneDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly peers: BulkPeers;
  /** What is given from the start; `provide` adds to it. */
  readonly providers?: Readonly<BulkProviders>;
  /** The Ed25519 seed of this node. */
  readonly secretKey: Uint8Array;
  /** What this node shows and demands in TLS, when others use that too. Default: made from the key. */
  readonly tls?: NodeTls;
  /** Calls a method of the RPC lane, for peers that cannot be reached directly. */
  readonly call: CallForPiece;
  /** How a worker binds an endpoint of its own, for peers without a direct route. Default: the RPC lane carries everything. */
  readonly iroh?: BulkIrohSettings | undefined;
}

export interface BulkLane {
  /** Gives objects of a kind from now on. Before that they are NOT_FOUND. */
  provide(kind: BulkKind, open: OpenBulkObject): void;
  /** Takes a TLS connection of the bind port that chose `bulkAlpn`. */
  accept(socket: TLSSocket): void;
  /**
   * The methods of the RPC lane that this part answers, by name.
   * @throws (each of them) PERMISSION_DENIED, NOT_FOUND, OVERLOADED, UNSUPPORTED
   */
  readonly rpcMethods: ReadonlyMap<string, BulkRpcHandler>;
  /**
   * Fetches an object into a file; resolves when all of it is there, verified and durable.
   * @throws UNAVAILABLE, NOT_FOUND, STOPPED, the errors of the disk, and the reason of the signal
   */
  fetch(wanted: BulkFetch): Promise<BulkFetched>;
  /** Counts and logs nodes that gave a manifest of wrong content. */
  reportBadSources(nodeIds: readonly number[]): void;
  /** The manifest of what this node gives itself. @throws NOT_FOUND, OVERLOADED */
  manifest(name: BulkName): Promise<Manifest>;
  routes(): readonly BulkRouteStatus[];
  close(): Promise<void>;
}

export function createBulkLane(deps: BulkLaneDeps): BulkLane {
  return new NodeBulkLane(deps);
}

class NodeBulkLane implements BulkLane {
  readonly #deps: BulkLaneDeps;
  readonly #providers: BulkProviders;
  readonly #metrics: BulkMetrics;
  readonly #requests: BulkRequestHandler;
  readonly #server: BulkHttp2Server;
  readonly #iroh: IrohRoute | undefined;
  readonly #routes: BulkRoutes;
  readonly #transfers = new Semaphore(bulkLimits.transfersMax);
  readonly #memory = new ChunkBuffers(bulkLimits.chunksReceivedMax);
  readonly #running = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  readonly rpcMethods: ReadonlyMap<string, BulkRpcHandler> = new Map([
    [pieceMethod, ({ remote, payload }) => answerPiece(this.#requests, remote.endpointId, payload)],
    [endpointMethod, ({ remote, payload }) => this.#answerEndpoint(remote.endpointId, payload)],
  ]);

  constructor(deps: BulkLaneDeps) {
    this.#deps = deps;
    this.#metrics = bindBulkMetrics(deps.metrics);
    this.#providers = { ...deps.providers };
    const snapshotBudget = new SnapshotBudget(deps.clock);
    const [providers, metrics] = [this.#providers, this.#metrics];
    this.#requests = new BulkRequestHandler({ ...deps, providers, metrics, snapshotBudget });
    const tls = deps.tls ?? new NodeTls(deps);
    this.#server = new BulkHttp2Server(this.#requests, tls, new Evictions(deps));
    this.#iroh = deps.iroh && new IrohRoute({ ...deps, requests: this.#requests, settings: deps.iroh });
    this.#routes = new BulkRoutes({ ...deps, tls, metrics: this.#metrics, iroh: this.#iroh });
  }

  provide(kind: BulkKind, open: OpenBulkObject): void {
    this.#providers[kind] = open;
  }

  accept(socket: TLSSocket): void {
    if (this.#closing.signal.aborted) socket.destroy();
    else this.#server.accept(socket);
  }

  async fetch(wanted: BulkFetch): Promise<BulkFetched> {
    const link = linkSignal(wanted.signal, this.#closing.signal);
    const { signal } = link;
    const transfer = this.#transfers.run(async () => {
      signal.throwIfAborted();
      const { clock, logger } = this.#deps;
      const shared = { clock, logger, metrics: this.#metrics };
      const sources = new Sources({ ...shared, routes: this.#routes }, wanted.sources);
      return await Transfer.run({ ...shared, sources, memory: this.#memory }, { ...wanted, signal });
    });
    this.#running.add(transfer);
    const { kind } = wanted.name;
    try {
      const fetched = await transfer;
      this.#metrics.transfers.add(1, { kind, result: "done" });
      return fetched;
    } catch (error) {
      this.#metrics.transfers.add(1, { kind, result: signal.aborted ? "cancelled" : "failed" });
      throw error;
    } finally {
      link.release();
      this.#running.delete(transfer);
    }
  }

  reportBadSources(nodeIds: readonly number[]): void {
    this.#metrics.sourcesDropped.add(nodeIds.length, { reason: "bad_manifest" });
    this.#deps.logger.log("warn", "nodes gave bulk data that is wrong", { nodeIds });
  }

  manifest(name: BulkName): Promise<Manifest> {
    return this.#requests.manifest(name);
  }

  routes(): readonly BulkRouteStatus[] {
    return this.#routes.statuses();
  }

  async #answerEndpoint(endpointId: string, payload: Uint8Array): Promise<Uint8Array> {
    if (this.#iroh !== undefined) return await this.#iroh.answer(endpointId, payload);
    throw notApplied("UNSUPPORTED", "this node does not use Iroh");
  }

  async close(): Promise<void> {
    this.#closing.abort(new BlixardError("STOPPED", "the node stops"));
    this.#server.close();
    this.#routes.close();
    await Promise.allSettled([...this.#running, this.#iroh?.close()]);
  }
}
