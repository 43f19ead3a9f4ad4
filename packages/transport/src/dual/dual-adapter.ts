/**
 * Two technologies behind one face, for a cluster that moves from one to the other or has peers that one cannot reach:
 * listens on both, dials the one that is chosen for the peer first, and the other one when that does not answer.
 */
import { BlixardError, type Clock, errorCodeOf, messageOf, withTimeLimit } from "@blixard/common";
import type {
  Connection,
  Doorkeeper,
  EndpointAddress,
  Lane,
  PathChoices,
  TransportAdapter,
} from "../transport-types.ts";
import { dualLimits } from "./dual-limits.ts";
import { PeerChoice, type Side } from "./peer-choice.ts";
import { Probe } from "./probe.ts";
import { raceWithHeadStart } from "./race.ts";

export interface DualAdapterOptions {
  readonly clock: Clock;
  /** Both have the same identity, and the same addresses. */
  readonly preferred: TransportAdapter;
  readonly fallback: TransportAdapter;
  /** How long a dial over the chosen technology runs alone before the other one is tried too. Default: 400 ms. */
  readonly headStartMs?: number;
  /** How long all probes must be answered before a return to the preferred technology. Default: 10 s. */
  readonly healthyMs?: number;
  /** The time between probes of the preferred technology while the fallback is in use. Default: 2 s. */
  readonly probeIntervalMs?: number;
}

export function createDualAdapter(options: DualAdapterOptions): TransportAdapter {
  return new DualAdapter(options);
}

interface PeerState {
  readonly choice: PeerChoice;
  readonly probe: Probe;
  /** Connections over the fallback: without any there is nothing to return from. */
  fallbackConnections: number;
  to: EndpointAddress;
}

class DualAdapter implements TransportAdapter {
  readonly kind = "dual";
  readonly endpointId: string;
  readonly choices: PathChoices;
  readonly #options: DualAdapterOptions;
  readonly #peers = new Map<string, PeerState>();
  readonly #listeners: ((endpointId: string) => void)[] = [];
  #closed = false;

  constructor(options: DualAdapterOptions) {
    this.#options = options;
    this.endpointId = options.preferred.endpointId;
    this.choices = {
      choiceFor: (endpointId) => this.#choiceFor(endpointId),
      onReturn: (listener) => {
        this.#listeners.push(listener);
      },
    };
  }

  get usesRelay(): boolean {
    return this.#options.preferred.usesRelay ?? false;
  }

  addresses(): readonly string[] {
    return this.#options.preferred.addresses();
  }

  async listen(onConnection: (connection: Connection) => void, doorkeeper?: Doorkeeper): Promise<void> {
    const { preferred, fallback } = this.#options;
    await Promise.all([preferred.listen(onConnection, doorkeeper), fallback.listen(onConnection, doorkeeper)]);
  }

  async connect(to: EndpointAddress, lane: Lane, options: { readonly signal: AbortSignal }): Promise<Connection> {
    if (this.#closed) throw new BlixardError("STOPPED", "the endpoint is closed");
    const peer = this.#peerOf(to);
    const sides: readonly [Side, Side] =
      peer.choice.side === "preferred" ? ["preferred", "fallback"] : ["fallback", "preferred"];
    const outcome = await raceWithHeadStart({
      clock: this.#options.clock,
      headStartMs: this.#options.headStartMs ?? dualLimits.headStartMs,
      signal: options.signal,
      dials: sides.map((side) => (signal: AbortSignal) => this.#options[side].connect(to, lane, { signal })),
      discard: (late) => late.close("the other transport was faster"),
    });
    const [first, second] = sides;
    if (outcome.result === undefined) throw this.#failure(outcome.errors, sides);
    if (outcome.winner === 0) return this.#counted(peer, first, outcome.result);
    if (first === "preferred" && outcome.errors[0] === undefined) {
      const anew = await this.#dialAnew(to, lane, options.signal);
      if (anew !== undefined || options.signal.aborted) outcome.result.close("the preferred transport is used");
      options.signal.throwIfAborted();
      if (anew !== undefined) return anew;
    }
    this.#noteAnswer(peer, second, this.#why(first, outcome.errors[0]));
    return this.#counted(peer, second, outcome.result);
  }

  /**
   * Dials the preferred technology once more after the fallback answered. What Iroh sent before the peer had started is
   * lost, and Iroh sends it again only after a second. So the preferred one has failed only if it does not answer now.
   */
  async #dialAnew(to: EndpointAddress, lane: Lane, signal: AbortSignal): Promise<Connection | undefined> {
    const { clock, preferred } = this.#options;
    const dial = (limited: AbortSignal) => preferred.connect(to, lane, { signal: limited });
    return await withTimeLimit(clock, dualLimits.confirmMs, signal, dial).catch(() => undefined);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { probe } of this.#peers.values()) probe.stop();
    await Promise.all([this.#options.preferred.close(), this.#options.fallback.close()]);
  }

  #choiceFor(endpointId: string) {
    const choice = this.#peers.get(endpointId)?.choice;
    if (choice === undefined) return { transport: this.#options.preferred.kind, reason: "preferred" };
    return { transport: this.#options[choice.side].kind, reason: choice.reason };
  }

  #peerOf(to: EndpointAddress): PeerState {
    const known = this.#peers.get(to.endpointId);
    if (known !== undefined) {
      known.to = to;
      return known;
    }
    const { clock, healthyMs = dualLimits.healthyMs, probeIntervalMs = dualLimits.probeIntervalMs } = this.#options;
    const probe = new Probe({
      clock,
      intervalMs: probeIntervalMs,
      run: (signal) => this.#probe(peer, signal),
    });
    const peer: PeerState = { choice: new PeerChoice({ healthyMs }), probe, fallbackConnections: 0, to };
    this.#peers.set(to.endpointId, peer);
    for (const [oldest, { probe: oldProbe }] of this.#peers) {
      if (this.#peers.size <= dualLimits.choicesMax) break;
      oldProbe.stop();
      this.#peers.delete(oldest);
    }
    return peer;
  }

  #noteAnswer(peer: PeerState, side: Side, failure: string): void {
    const before = peer.choice.side;
    peer.choice.answered(side, failure, this.#options.clock.monotonicMs());
    if (before === "fallback" && peer.choice.side === "preferred") this.#return(peer);
  }

  /** While a peer is connected over the fallback only, the preferred one is probed. */
  #counted(peer: PeerState, side: Side, connection: Connection): Connection {
    if (side === "preferred") return connection;
    peer.fallbackConnections++;
    if (peer.choice.side === "fallback" && !this.#closed) peer.probe.start();
    void connection.closed.then(() => {
      peer.fallbackConnections--;
      if (peer.fallbackConnections === 0) peer.probe.stop();
    });
    return connection;
  }

  async #probe(peer: PeerState, signal: AbortSignal): Promise<boolean> {
    const { clock, preferred } = this.#options;
    try {
      const connection = await preferred.connect(peer.to, "blixard/rpc/1", { signal });
      connection.close("probe");
      if (peer.choice.probeAnswered(clock.monotonicMs())) this.#return(peer);
      return true;
    } catch {
      peer.choice.probeFailed();
      return false;
    }
  }

  #return(peer: PeerState): void {
    peer.probe.stop();
    for (const listener of this.#listeners) listener(peer.to.endpointId);
  }

  #why(side: Side, error: unknown): string {
    const { kind } = this.#options[side];
    const text = (messageOf(error).split("\n")[0] ?? "").slice(0, 160);
    return error === undefined ? `${kind} did not answer in time` : `${kind}: ${text}`;
  }

  #failure(errors: readonly unknown[], sides: readonly Side[]): BlixardError {
    const codes = errors.map((error) => errorCodeOf(error));
    // One technology that the peer does not speak says nothing of the peer.
    const code = codes.every((known) => known === codes[0]) ? (codes[0] ?? "UNREACHABLE") : "UNREACHABLE";
    const message = sides.map((side, at) => this.#why(side, errors[at])).join("; ");
    return new BlixardError(code, message, { cause: errors[0] });
  }
}
