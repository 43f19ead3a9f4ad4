/**
 * Looks for members that are not connected: it exchanges address books with those that are, and asks the finders for
 * the rest. So one member that is found leads to all others, also when every address changed while all nodes were down.
 */
import { errorCodeOf, messageOf, pauseFor, withTimeLimit } from "@blixard/common";
import type { NodeParts } from "../node-parts.ts";
import type { ClusterEndpoint, ClusterPeer, ClusterTransport } from "../ports/cluster-transport.ts";
import type { PeerFinder } from "../ports/peer-finder.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";

/** What this duty uses of the node. */
type DiscoveryParts = Pick<NodeParts, "clock" | "logger" | "options" | "peerCalls" | "addressBook"> & {
  readonly transport: Pick<ClusterTransport, "sessions">;
};

const exchangeTimeoutMs = 2_000;
const findTimeoutMs = 5_000;
/** The duty looks for an absent member less and less often, up to this factor, and never gives it up. */
const slowDownMax = 16;

export interface DiscoveryDutyDeps {
  readonly parts: DiscoveryParts;
  readonly loop: LoopDeps;
  readonly finders: readonly PeerFinder[];
  readonly knownPeers: () => readonly ClusterPeer[];
}

export class DiscoveryDuty {
  readonly #deps: DiscoveryDutyDeps;
  #connected = "";
  #rounds = 0;

  constructor(deps: DiscoveryDutyDeps) {
    this.#deps = deps;
  }

  /** Runs until `signal` aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void> {
    const { clock, options } = this.#deps.parts;
    return runLoop(this.#deps.loop, "discovery", signal, async () => {
      await pauseFor(clock, options.discoveryMs * Math.min(2 ** this.#rounds, slowDownMax), signal);
      if (!signal.aborted) await this.#round(signal);
    });
  }

  async #round(signal: AbortSignal): Promise<void> {
    const connected = new Set<number>();
    for (const { nodeId, path } of this.#deps.parts.transport.sessions()) {
      if (path !== "none") connected.add(nodeId);
    }
    const peers = this.#deps.knownPeers();
    const missing = peers.filter(({ nodeId }) => !connected.has(nodeId));
    const now = [...connected].sort((a, b) => a - b).join();
    this.#rounds = now === this.#connected && missing.length > 0 ? this.#rounds + 1 : 0;
    this.#connected = now;
    if (missing.length === 0) return;
    const near = peers.filter(({ nodeId }) => connected.has(nodeId));
    await Promise.all([
      ...near.map(({ nodeId }) => this.#exchange(nodeId, signal)),
      ...this.#deps.finders.map((finder) => this.#find(finder, missing, signal)),
    ]);
  }

  async #exchange(nodeId: number, signal: AbortSignal): Promise<void> {
    const { peerCalls, addressBook } = this.#deps.parts;
    const request = { claims: addressBook.claimsFor(nodeId) };
    try {
      const { claims } = await peerCalls.ask(nodeId, "node.addresses", request, {
        timeoutMs: exchangeTimeoutMs,
        signal,
      });
      addressBook.merge(claims, nodeId);
    } catch (error) {
      this.#failed("asking a member for addresses", error, { nodeId }, signal);
    }
  }

  async #find(finder: PeerFinder, missing: readonly ClusterPeer[], signal: AbortSignal): Promise<void> {
    const { clock, addressBook } = this.#deps.parts;
    const wanted = new Set(missing.map(({ endpointId }) => endpointId));
    try {
      const found = await withTimeLimit(clock, findTimeoutMs, signal, (limited) =>
        finder.find(wanted, { signal: limited }),
      );
      const useful = found.filter(({ endpointId }) => wanted.has(endpointId));
      if (useful.length > 0) this.#note(finder.kind, useful);
      addressBook.hint(useful);
    } catch (error) {
      this.#failed("looking for members", error, { finder: finder.kind }, signal);
    }
  }

  #note(finder: string, found: readonly ClusterEndpoint[]): void {
    const addresses = found.flatMap((endpoint) => endpoint.addresses).join(" ");
    this.#deps.parts.logger.log("debug", "found members that were not connected", { finder, addresses });
  }

  #failed(what: string, error: unknown, fields: Readonly<Record<string, unknown>>, signal: AbortSignal): void {
    if (signal.aborted) return;
    const cause = { ...fields, code: errorCodeOf(error), error: messageOf(error) };
    this.#deps.parts.logger.log("debug", `${what} failed`, cause);
  }
}
