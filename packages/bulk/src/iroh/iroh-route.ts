/**
 * The route between two workers, for nodes without a direct route. Each side has an Iroh endpoint whose key lives as long as
 * its worker. The two nodes announce these keys to each other over the RPC lane, which proves that a member announces them;
 * the worker of the source serves announced keys only. A worker is started when it is needed and closed when it is idle.
 */
import { randomBytes } from "node:crypto";
import {
  BlixardError,
  type Clock,
  firstAddresses,
  formatHostPort,
  fromUtf8,
  hostOf,
  type Logger,
  notApplied,
  type Timer,
  toUtf8,
} from "@blixard/common";
import type { EndpointAddress, Peer } from "@blixard/transport";
import { bulkLimits } from "../bulk-limits.ts";
import type { BulkRequestHandler } from "../bulk-request-handler.ts";
import { statusOf } from "../bulk-status.ts";
import type { BulkChannel, BulkIrohSettings, BulkPeers, BulkRequestOptions } from "../bulk-types.ts";
import type { CallForPiece } from "../rpc-pieces.ts";
import { WorkerEndpoint } from "./worker-endpoint.ts";

/** The method of the RPC lane. Request: where the worker of the caller is, as JSON; answer: the same of the source. */
export const endpointMethod = "bulk.endpoint";

export interface IrohRouteDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly peers: Pick<BulkPeers, "peer">;
  readonly requests: BulkRequestHandler;
  readonly call: CallForPiece;
  readonly settings: BulkIrohSettings;
}

interface Announced {
  readonly member: string;
  readonly untilMs: number;
}

const ok = 200;

export class IrohRoute {
  readonly #deps: IrohRouteDeps;
  /** By the key of the worker. One for each member: a newer one replaces it. */
  readonly #announced = new Map<string, Announced>();
  /** The member that each connection serves, by the number of the connection. */
  readonly #served = new Map<number, string>();
  /** Answers whose bytes have not left yet. */
  readonly #leaving = new Map<number, () => void>();
  readonly #closings = new Set<Promise<void>>();
  #worker: WorkerEndpoint | undefined;
  #idle: Timer | undefined;
  #closed = false;

  constructor(deps: IrohRouteDeps) {
    this.#deps = deps;
  }

  /** Opens a connection from worker to worker. @throws UNREACHABLE, the error of a peer that does not use Iroh */
  async dial(to: Peer, signal: AbortSignal): Promise<BulkChannel> {
    const worker = this.#running();
    // The source needs no addresses of this worker, because this side dials.
    const own = fromUtf8(JSON.stringify({ endpointId: worker.endpointId }));
    const options = { timeoutMs: bulkLimits.workerStartMs, signal };
    const answer = await this.#deps.call(to.nodeId, endpointMethod, own, options);
    await worker.bound;
    const connection = await worker.dial(readEndpoint(answer), signal);
    this.#touch();
    return new IrohChannel(worker, connection, () => this.#touch());
  }

  /** Answers a call of `endpointMethod`. @throws PERMISSION_DENIED, INVALID_ARGUMENT, UNREACHABLE */
  async answer(member: string, payload: Uint8Array): Promise<Uint8Array> {
    const { requests, clock } = this.#deps;
    if (!requests.admits(member)) throw new BlixardError("PERMISSION_DENIED", "only members may read");
    const { endpointId } = readEndpoint(payload);
    const where = await this.#running().bound;
    const nowMs = clock.monotonicMs();
    for (const [id, known] of this.#announced) {
      if (known.member === member || known.untilMs < nowMs) this.#announced.delete(id);
    }
    this.#announced.set(endpointId, { member, untilMs: nowMs + bulkLimits.announcedMs });
    return fromUtf8(JSON.stringify(where));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#closeWorker();
    await Promise.all(this.#closings);
  }

  #running(): WorkerEndpoint {
    if (this.#closed) throw new BlixardError("STOPPED", "the node stops");
    this.#touch();
    if (this.#worker?.running) return this.#worker;
    const { clock, logger, settings } = this.#deps;
    const worker: WorkerEndpoint = new WorkerEndpoint({
      clock,
      logger,
      settings: { ...settings, bind: formatHostPort(hostOf(settings.bind), 0), secretKey: randomBytes(32) },
      events: {
        onArrived: (connection, endpointId) => this.#admit(worker, connection, endpointId),
        onEnded: (connection) => this.#served.delete(connection),
        onAsk: (ask, connection, path) => void this.#serve(worker, ask, connection, path),
        onDelivered: (ask) => this.#leaving.get(ask)?.(),
      },
    });
    void worker.ended.then(() => this.#forget(worker));
    this.#worker = worker;
    return worker;
  }

  #admit(worker: WorkerEndpoint, connection: number, endpointId: string): void {
    const { requests, peers, clock } = this.#deps;
    const { member = "", untilMs = 0 } = this.#announced.get(endpointId) ?? {};
    const known = untilMs >= clock.monotonicMs() && peers.peer(member) !== undefined;
    const ofMember = [...this.#served.values()].filter((other) => other === member).length;
    const hasRoom = this.#served.size < bulkLimits.sessionsMax && ofMember < bulkLimits.sessionsPerPeerMax;
    if (known && hasRoom) {
      this.#served.set(connection, member);
      worker.serve(connection);
      return;
    }
    requests.refused(known ? "too_many_connections" : "unknown_peer");
    worker.drop(connection);
  }

  async #serve(worker: WorkerEndpoint, ask: number, connection: number, path: string): Promise<void> {
    this.#touch();
    const request = { endpointId: this.#served.get(connection), path, route: "iroh" } as const;
    try {
      await this.#deps.requests.answer(request, async (bytes) => {
        if (!worker.running) return;
        worker.answer(ask, ok, bytes);
        await new Promise<void>((resolve) => this.#leaving.set(ask, resolve));
        this.#leaving.delete(ask);
      });
    } catch (error) {
      worker.answer(ask, statusOf(error), new Uint8Array());
    }
  }

  /** The worker is closed when nothing was asked for a while. */
  #touch(): void {
    this.#idle?.cancel();
    if (this.#closed) return;
    this.#idle = this.#deps.clock.setTimer(bulkLimits.idleCloseMs, () => {
      if (this.#leaving.size > 0 || (this.#worker?.waiting ?? 0) > 0) this.#touch();
      else this.#closeWorker();
    });
  }

  #closeWorker(): void {
    this.#idle?.cancel();
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#forget(worker);
    const closing = worker.close().finally(() => this.#closings.delete(closing));
    this.#closings.add(closing);
  }

  #forget(worker: WorkerEndpoint): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    // Numbers of connections and asks are those of one worker.
    this.#served.clear();
    for (const left of this.#leaving.values()) left();
  }
}

/** @throws INVALID_ARGUMENT */
function readEndpoint(payload: Uint8Array): EndpointAddress {
  const text = payload.length > bulkLimits.headerBytesMax ? "" : toUtf8(payload);
  const { endpointId, addresses = [] } = parsed(text);
  const isText = (value: unknown) => typeof value === "string";
  const sound =
    typeof endpointId === "string" &&
    /^[0-9a-f]{64}$/.test(endpointId) &&
    Array.isArray(addresses) &&
    addresses.every(isText);
  if (!sound) throw notApplied("INVALID_ARGUMENT", "not an endpoint of a worker");
  return { endpointId, addresses: firstAddresses(addresses, bulkLimits.addressesMax) };
}

function parsed(text: string): Partial<Record<keyof EndpointAddress, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

class IrohChannel implements BulkChannel {
  readonly route = "iroh";
  readonly #worker: WorkerEndpoint;
  readonly #connection: number;
  readonly #used: () => void;

  constructor(worker: WorkerEndpoint, connection: number, used: () => void) {
    this.#worker = worker;
    this.#connection = connection;
    this.#used = used;
  }

  get closed(): boolean {
    return !this.#worker.isOpen(this.#connection);
  }

  async request(path: string, options: BulkRequestOptions): Promise<Uint8Array> {
    this.#used();
    return await this.#worker.request(this.#connection, path, options);
  }

  close(): void {
    this.#worker.drop(this.#connection);
  }
}
