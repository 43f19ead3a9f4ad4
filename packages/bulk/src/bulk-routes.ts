/**
 * The ways to the other nodes. A direct one is looked for first, then one over Iroh between workers; where there is none, the
 * RPC lane carries it. Better ones are looked for again after a while.
 */
import { createSecureContext, type SecureContext } from "node:tls";
import { BlixardError, type Clock, type Logger, messageOf } from "@blixard/common";
import { createNodeCertificate } from "@blixard/identity";
import type { Peer } from "@blixard/transport";
import { bulkLimits } from "./bulk-limits.ts";
import type { BulkMetrics } from "./bulk-metrics.ts";
import type { BulkChannel, BulkPeers, BulkRoute, BulkRouteStatus } from "./bulk-types.ts";
import { dialDirect } from "./direct-channel.ts";
import type { IrohWay } from "./iroh/iroh-way.ts";
import { type CallForPiece, PieceChannel } from "./rpc-pieces.ts";

export interface BulkRoutesDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: BulkMetrics;
  readonly peers: BulkPeers;
  /** The Ed25519 seed of this node. */
  readonly secretKey: Uint8Array;
  /** The RPC lane, for peers that cannot be reached directly. */
  readonly call: CallForPiece;
  /** Absent where this node does not use Iroh. */
  readonly iroh: Pick<IrohWay, "dial"> | undefined;
}

interface Way {
  route: BulkRoute | "none";
  reason: string | null;
  /** A direct way is not looked for before. */
  directAtMs: number;
  /** The same for one over Iroh. */
  irohAtMs: number;
  channel: BulkChannel | undefined;
  /** Shared by all who wait for it. */
  dial: Promise<BulkChannel> | undefined;
}

/** How long a certificate of this node is used for dials. */
const certificateMs = 24 * 3_600_000;

export class BulkRoutes {
  readonly #deps: BulkRoutesDeps;
  /** By the key of the peer. */
  readonly #ways = new Map<string, Way>();
  readonly #closing = new AbortController();
  #secure: { readonly context: SecureContext; readonly untilMs: number } | undefined;

  constructor(deps: BulkRoutesDeps) {
    this.#deps = deps;
    deps.peers.onBroken((endpointId) => this.#giveUp(endpointId));
  }

  /** The open way to a node, or a new one. @throws UNREACHABLE, UNKNOWN_PEER, STOPPED */
  async channelTo(nodeId: number): Promise<BulkChannel> {
    const { peers, clock } = this.#deps;
    const to = peers.peer(nodeId);
    if (to === undefined) throw new BlixardError("UNREACHABLE", `node ${nodeId} is not in the member list`);
    const way = this.#wayTo(to.endpointId);
    const open = way.channel?.closed === false ? way.channel : undefined;
    const mayBeBetter = open?.route !== "direct" && clock.monotonicMs() >= way.directAtMs;
    if (open !== undefined && !mayBeBetter) return open;
    way.dial ??= this.#dial(to, way).finally(() => {
      way.dial = undefined;
    });
    if (open === undefined) return await way.dial;
    // What works is used while a better way is looked for.
    way.dial.catch(() => {});
    return open;
  }

  statuses(): BulkRouteStatus[] {
    const statuses: BulkRouteStatus[] = [];
    for (const [endpointId, { route, reason }] of this.#ways) {
      const nodeId = this.#deps.peers.peer(endpointId)?.nodeId;
      if (nodeId !== undefined) statuses.push({ nodeId, route, reason });
    }
    return statuses;
  }

  close(): void {
    this.#closing.abort(new BlixardError("STOPPED", "the node stops"));
    for (const { channel } of this.#ways.values()) channel?.close();
  }

  /** QUIC notices a killed peer after half a minute only. What goes over TCP ends with the process, so it is left alone. */
  #giveUp(endpointId: string): void {
    const channel = this.#ways.get(endpointId)?.channel;
    if (channel?.route === "iroh") channel.close();
  }

  #wayTo(endpointId: string): Way {
    const known = this.#ways.get(endpointId);
    if (known !== undefined) return known;
    for (const [other, { channel }] of this.#ways) {
      if (this.#deps.peers.peer(other) !== undefined) continue;
      channel?.close();
      this.#ways.delete(other);
    }
    const way: Way = { route: "none", reason: null, directAtMs: 0, irohAtMs: 0, channel: undefined, dial: undefined };
    this.#ways.set(endpointId, way);
    return way;
  }

  async #dial(to: Peer, way: Way): Promise<BulkChannel> {
    const open = way.channel?.closed === false ? way.channel : undefined;
    const openIroh = open?.route === "iroh" ? open : undefined;
    const better = (await this.#dialDirect(to, way)) ?? openIroh ?? (await this.#dialIroh(to, way));
    const channel = better ?? open ?? this.#overRpc(to, way);
    if (this.#closing.signal.aborted) channel.close();
    this.#closing.signal.throwIfAborted();
    way.channel = channel;
    return channel;
  }

  async #dialDirect(to: Peer, way: Way): Promise<BulkChannel | undefined> {
    const { clock, metrics } = this.#deps;
    const { signal } = this.#closing;
    if (clock.monotonicMs() < way.directAtMs) return undefined;
    try {
      const channel = await dialDirect({ clock, to, secureContext: this.#secureContext(), signal });
      metrics.dials.add(1, { route: "direct", result: "connected" });
      this.#chose(to, way, "direct", null);
      return channel;
    } catch (error) {
      signal.throwIfAborted();
      metrics.dials.add(1, { route: "direct", result: "failed" });
      way.reason = messageOf(error);
      way.directAtMs = clock.monotonicMs() + bulkLimits.directRetryMs;
      return undefined;
    }
  }

  async #dialIroh(to: Peer, way: Way): Promise<BulkChannel | undefined> {
    const { clock, metrics, iroh } = this.#deps;
    const { signal } = this.#closing;
    if (iroh === undefined || clock.monotonicMs() < way.irohAtMs) return undefined;
    try {
      const channel = await iroh.dial(to, signal);
      metrics.dials.add(1, { route: "iroh", result: "connected" });
      this.#chose(to, way, "iroh", way.reason);
      return channel;
    } catch (error) {
      signal.throwIfAborted();
      metrics.dials.add(1, { route: "iroh", result: "failed" });
      way.reason = `${way.reason}; over Iroh: ${messageOf(error)}`;
      way.irohAtMs = clock.monotonicMs() + bulkLimits.directRetryMs;
      return undefined;
    }
  }

  /** It needs no connection of its own: whether it works shows when it is used. */
  #overRpc(to: Peer, way: Way): BulkChannel {
    this.#chose(to, way, "rpc", way.reason);
    return new PieceChannel(this.#deps.clock, to.nodeId, this.#deps.call);
  }

  #chose({ nodeId }: Peer, way: Way, route: BulkRoute | "none", reason: string | null): void {
    if (way.route !== route) {
      const level = route === "direct" ? "info" : "warn";
      this.#deps.logger.log(level, "the way of bulk data to a node", { nodeId, route, reason });
    }
    way.route = route;
    way.reason = reason;
  }

  #secureContext(): SecureContext {
    const { clock, secretKey } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (this.#secure === undefined || nowMs > this.#secure.untilMs) {
      const { key, cert } = createNodeCertificate(secretKey, { clock });
      const context = createSecureContext({ key, cert, minVersion: "TLSv1.3" });
      this.#secure = { context, untilMs: nowMs + certificateMs };
    }
    return this.#secure.context;
  }
}
