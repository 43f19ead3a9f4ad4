/**
 * Chooses the route to each node: the direct one first, then one over Iroh between workers, and the RPC lane where neither
 * can be opened. A node without a direct route is dialled directly again after a while.
 */
import { BlixardError, type Clock, type Logger, messageOf } from "@blixard/common";
import type { NodeTls } from "@blixard/identity";
import type { Peer } from "@blixard/transport";
import { bulkLimits } from "./bulk-limits.ts";
import type { BulkChannel, BulkPeers, BulkRoute, BulkRouteStatus } from "./bulk-types.ts";
import { dialDirect } from "./direct-channel.ts";
import type { IrohRoute } from "./iroh/iroh-route.ts";
import type { BulkMetrics } from "./metrics.ts";
import { type CallForPiece, PieceChannel } from "./rpc-pieces.ts";

export interface BulkRoutesDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: BulkMetrics;
  readonly peers: BulkPeers;
  readonly tls: NodeTls;
  /** The RPC lane, for peers that cannot be reached directly. */
  readonly call: CallForPiece;
  /** Absent where this node does not use Iroh. */
  readonly iroh: Pick<IrohRoute, "dial"> | undefined;
}

interface PeerRoute {
  route: BulkRoute | "none";
  reason: string | null;
  /** The direct route is not dialled again before. */
  directAtMs: number;
  /** The route over Iroh is not dialled again before. */
  irohAtMs: number;
  channel: BulkChannel | undefined;
  /** Shared by all who wait for it. */
  dial: Promise<BulkChannel> | undefined;
}

export class BulkRoutes {
  readonly #deps: BulkRoutesDeps;
  /** By the key of the peer. */
  readonly #routes = new Map<string, PeerRoute>();
  readonly #closing = new AbortController();

  constructor(deps: BulkRoutesDeps) {
    this.#deps = deps;
    deps.peers.onBroken((endpointId) => this.#giveUp(endpointId));
  }

  /** Gives the open channel to a node, or opens one. @throws UNREACHABLE, UNKNOWN_PEER, STOPPED */
  async channelTo(nodeId: number): Promise<BulkChannel> {
    const { peers, clock } = this.#deps;
    const to = peers.peer(nodeId);
    if (to === undefined) throw new BlixardError("UNREACHABLE", `node ${nodeId} is not in the member list`);
    const peerRoute = this.#routeTo(to.endpointId);
    const open = peerRoute.channel?.closed === false ? peerRoute.channel : undefined;
    const mayBeBetter = open?.route !== "direct" && clock.monotonicMs() >= peerRoute.directAtMs;
    if (open !== undefined && !mayBeBetter) return open;
    peerRoute.dial ??= this.#dial(to, peerRoute).finally(() => {
      peerRoute.dial = undefined;
    });
    if (open === undefined) return await peerRoute.dial;
    // The open channel is used while a better route is dialled.
    peerRoute.dial.catch(() => {});
    return open;
  }

  statuses(): BulkRouteStatus[] {
    const statuses: BulkRouteStatus[] = [];
    for (const [endpointId, { route, reason }] of this.#routes) {
      const nodeId = this.#deps.peers.peer(endpointId)?.nodeId;
      if (nodeId !== undefined) statuses.push({ nodeId, route, reason });
    }
    return statuses;
  }

  close(): void {
    this.#closing.abort(new BlixardError("STOPPED", "the node stops"));
    for (const { channel } of this.#routes.values()) channel?.close();
  }

  /** QUIC notices a killed peer after half a minute only. A TCP connection ends with the process, so direct channels stay. */
  #giveUp(endpointId: string): void {
    const channel = this.#routes.get(endpointId)?.channel;
    if (channel?.route === "iroh") channel.close();
  }

  #routeTo(endpointId: string): PeerRoute {
    const known = this.#routes.get(endpointId);
    if (known !== undefined) return known;
    for (const [other, { channel }] of this.#routes) {
      if (this.#deps.peers.peer(other) !== undefined) continue;
      channel?.close();
      this.#routes.delete(other);
    }
    const peerRoute: PeerRoute = {
      route: "none",
      reason: null,
      directAtMs: 0,
      irohAtMs: 0,
      channel: undefined,
      dial: undefined,
    };
    this.#routes.set(endpointId, peerRoute);
    return peerRoute;
  }

  async #dial(to: Peer, peerRoute: PeerRoute): Promise<BulkChannel> {
    const open = peerRoute.channel?.closed === false ? peerRoute.channel : undefined;
    const openIroh = open?.route === "iroh" ? open : undefined;
    const better = (await this.#dialDirect(to, peerRoute)) ?? openIroh ?? (await this.#dialIroh(to, peerRoute));
    const channel = better ?? open ?? this.#overRpc(to, peerRoute);
    if (this.#closing.signal.aborted) channel.close();
    this.#closing.signal.throwIfAborted();
    peerRoute.channel = channel;
    return channel;
  }

  async #dialDirect(to: Peer, peerRoute: PeerRoute): Promise<BulkChannel | undefined> {
    const { clock, metrics, tls } = this.#deps;
    const { signal } = this.#closing;
    if (clock.monotonicMs() < peerRoute.directAtMs) return undefined;
    try {
      const channel = await dialDirect({ clock, to, tls, signal });
      metrics.dials.add(1, { route: "direct", result: "connected" });
      this.#chose(to, peerRoute, "direct", null);
      return channel;
    } catch (error) {
      signal.throwIfAborted();
      metrics.dials.add(1, { route: "direct", result: "failed" });
      peerRoute.reason = messageOf(error);
      peerRoute.directAtMs = clock.monotonicMs() + bulkLimits.directRetryMs;
      return undefined;
    }
  }

  async #dialIroh(to: Peer, peerRoute: PeerRoute): Promise<BulkChannel | undefined> {
    const { clock, metrics, iroh } = this.#deps;
    const { signal } = this.#closing;
    if (iroh === undefined || clock.monotonicMs() < peerRoute.irohAtMs) return undefined;
    try {
      const channel = await iroh.dial(to, signal);
      metrics.dials.add(1, { route: "iroh", result: "connected" });
      this.#chose(to, peerRoute, "iroh", peerRoute.reason);
      return channel;
    } catch (error) {
      signal.throwIfAborted();
      metrics.dials.add(1, { route: "iroh", result: "failed" });
      peerRoute.reason = `${peerRoute.reason}; over Iroh: ${messageOf(error)}`;
      peerRoute.irohAtMs = clock.monotonicMs() + bulkLimits.directRetryMs;
      return undefined;
    }
  }

  /** Needs no connection of its own: the first request shows whether it works. */
  #overRpc(to: Peer, peerRoute: PeerRoute): BulkChannel {
    this.#chose(to, peerRoute, "rpc", peerRoute.reason);
    return new PieceChannel(this.#deps.clock, to.nodeId, this.#deps.call);
  }

  #chose({ nodeId }: Peer, peerRoute: PeerRoute, route: BulkRoute | "none", reason: string | null): void {
    if (peerRoute.route !== route) {
      const level = route === "direct" ? "info" : "warn";
      this.#deps.logger.log(level, "the route of bulk data to a node", { nodeId, route, reason });
    }
    peerRoute.route = route;
    peerRoute.reason = reason;
  }
}
