/**
 * The transport of one node: the member list, a session for each member, the RPC lane, and the door where every
 * incoming connection is checked against the member list before anything else is done with it.
 */
import { BlixardError, directAddresses, hostOf, notApplied, SeldomLog } from "@blixard/common";
import { Evictions, shareOfAddress } from "@blixard/identity";
import { frameBytesMin } from "@blixard/protocol";
import type { NodeId, PeerMessage, PeerTransportHandlers } from "@blixard/raft";
import { ReadPace } from "./frames/read-pace.ts";
import { TransportMetrics } from "./metrics.ts";
import { RpcLane } from "./rpc/rpc-lane.ts";
import { keysOf } from "./session/peer-keys.ts";
import { PeerSession } from "./session/peer-session.ts";
import type { PeerSessionOptions } from "./session/peer-session-deps.ts";
import { transportLimits } from "./transport-limits.ts";
import type {
  Connection,
  EndpointAddress,
  Peer,
  RpcHandler,
  RpcStreamHandler,
  ServedNode,
  StreamCallOptions,
  Transport,
  TransportDeps,
  TransportOptions,
} from "./transport-types.ts";

/** Makes a transport; nothing is bound or dialled before `start`. @throws INVALID_ARGUMENT for options that contradict limits */
export function createTransport(deps: TransportDeps, options: TransportOptions): Transport {
  const node = new NodeTransport(deps, options);
  return {
    peers: { send: (to, message) => node.send(to, message), bind: (handlers) => node.bind(handlers) },
    endpointId: deps.adapter.endpointId,
    instance: node.instance,
    serve: (served) => node.serve(served),
    addMethods: (methods) => node.addMethods(methods),
    start: () => node.start(),
    addresses: () => deps.adapter.addresses(),
    usesRelay: deps.adapter.usesRelay ?? false,
    setPeers: (peers) => node.setPeers(peers),
    peer: (key) => node.peer(key),
    onBroken: (listener) => node.onBroken(listener),
    call: (to, method, payload, callOptions) => node.call(to, method, payload, callOptions),
    stream: (to, method, payload, streamOptions) => node.stream(to, method, payload, streamOptions),
    slow: (nodeId) => node.slow(nodeId),
    sessions: () => node.sessions(),
    refusals: () => node.refusals(),
    close: () => node.close(),
  };
}

class NodeTransport {
  readonly #deps: TransportDeps;
  readonly #metrics: TransportMetrics;
  readonly #options: PeerSessionOptions;
  readonly #rpc: RpcLane;
  readonly #evictions: Evictions;
  readonly #unknownPeers: SeldomLog;
  readonly #onBroken: ((endpointId: string) => void)[] = [];
  readonly #sessions = new Map<number, PeerSession>();
  readonly #paces = new Map<number, ReadPace>();
  readonly #nodeIds = new Map<string, number>();
  readonly #methods = new Map<string, RpcHandler>();
  /** Whether the member list was ever set. */
  #knowsMembers = false;
  /** Where members are said to be, as `shareOfAddress` writes it. */
  #memberShares: ReadonlySet<string> = new Set();
  #served: ServedNode = startingNode;
  #handlers: PeerTransportHandlers | undefined;
  #state: "new" | "started" | "closed" = "new";

  constructor(deps: TransportDeps, options: TransportOptions) {
    this.#deps = deps;
    this.#metrics = new TransportMetrics(deps.metrics);
    this.#evictions = new Evictions(deps);
    this.#unknownPeers = new SeldomLog(deps, "info", "refused a connection of an unknown peer");
    const { frameBytesMax = transportLimits.frameBytesMax } = options;
    if (frameBytesMax < frameBytesMin) {
      throw new BlixardError("INVALID_ARGUMENT", `frames of ${frameBytesMax} bytes are too small for a call`, {
        hint: `Allow at least ${frameBytesMin} bytes.`,
      });
    }
    const instanceBytes = deps.random.bytes(6);
    this.#options = {
      nodeId: options.nodeId,
      instance: instanceBytes.reduce((value, byte) => value * 256 + byte, 0),
      frameBytesMax,
      start: () => this.#served.start?.(),
      heartbeatMs: options.heartbeatMs ?? transportLimits.heartbeatMs,
      compress: options.compress ?? ["iroh", "dual"].includes(deps.adapter.kind),
    };
    this.#rpc = new RpcLane(
      {
        clock: deps.clock,
        random: deps.random,
        metrics: this.#metrics,
        adapter: deps.adapter,
        nodeIdOf: (endpointId) => this.#nodeIds.get(endpointId),
        isKnown: (endpointId) => this.#isKnown(endpointId),
        paceOf: (endpointId) => this.#paces.get(this.#nodeIds.get(endpointId) ?? Number.NaN),
        onStrangerEvicted: (share) => this.#evictions.count("rpc_stranger", share),
        handler: (call, signal) => (this.#methods.get(call.method) ?? this.#served.call)(call, signal),
        streamHandler: (call, signal) => this.#handleStream(call, signal),
      },
      { ...this.#options, strangersMax: options.strangersMax ?? transportLimits.rpcStrangersMax },
    );
    deps.adapter.choices?.onReturn((endpointId) => this.#renew(endpointId));
  }

  get instance(): number {
    return this.#options.instance;
  }

  bind(handlers: PeerTransportHandlers): void {
    this.#handlers = handlers;
  }

  serve(node: ServedNode): void {
    this.#served = node;
  }

  addMethods(methods: ReadonlyMap<string, RpcHandler>): void {
    for (const [name, handler] of methods) {
      if (this.#methods.has(name)) throw new BlixardError("INVALID_ARGUMENT", `the method ${name} is answered already`);
      this.#methods.set(name, handler);
    }
  }

  async start(): Promise<void> {
    await this.#deps.adapter.listen((connection) => this.#onConnection(connection), {
      isKnown: (endpointId) => this.#isKnown(endpointId),
      isMemberShare: (share) => this.#memberShares.has(share),
      evicted: (door, share) => this.#evictions.count(door, share),
    });
    this.#state = "started";
    for (const session of this.#sessions.values()) session.start();
  }

  send(to: NodeId, message: PeerMessage): boolean {
    const session = this.#sessions.get(to);
    if (session !== undefined) return session.send(message);
    this.#metrics.dropped("unknown_node");
    return false;
  }

  setPeers(peers: readonly Peer[]): void {
    if (this.#state === "closed") return;
    this.#knowsMembers = true;
    const wanted = new Map(
      peers.filter(({ nodeId }) => nodeId !== this.#options.nodeId).map((peer) => [peer.nodeId, peer]),
    );
    const addresses = [...wanted.values()].flatMap((peer) => directAddresses(peer.addresses));
    this.#memberShares = new Set(addresses.map((address) => shareOfAddress(hostOf(address))));
    for (const [nodeId, session] of this.#sessions) {
      // A node id with another key is another machine, unless the node was about to change to that key.
      const peer = wanted.get(nodeId);
      if (peer !== undefined && keysOf(session.peer).includes(peer.endpointId)) continue;
      this.#sessions.delete(nodeId);
      this.#paces.delete(nodeId);
      session.close("removed from the member list");
    }
    this.#bindKeys(wanted.values());
    for (const peer of wanted.values()) {
      const session = this.#sessions.get(peer.nodeId);
      if (session !== undefined) session.setPeer(peer);
      else this.#addSession(peer);
    }
  }

  /** Connections under keys that are no member's any more end. */
  #bindKeys(peers: Iterable<Peer>): void {
    const before = [...this.#nodeIds.keys()];
    this.#nodeIds.clear();
    for (const peer of peers) for (const key of keysOf(peer)) this.#nodeIds.set(key, peer.nodeId);
    for (const key of before) if (!this.#nodeIds.has(key)) this.#rpc.drop(key, "removed from the member list");
  }

  peer(key: number | string): Peer | undefined {
    const nodeId = typeof key === "number" ? key : this.#nodeIds.get(key);
    return nodeId === undefined ? undefined : this.#sessions.get(nodeId)?.peer;
  }

  onBroken(listener: (endpointId: string) => void): void {
    this.#onBroken.push(listener);
  }

  async call(
    to: number | EndpointAddress,
    method: string,
    payload: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array> {
    return this.#rpc.call(this.#addressOf(to), method, payload, options);
  }

  async stream(
    to: number | EndpointAddress,
    method: string,
    payload: Uint8Array,
    options: StreamCallOptions,
  ): Promise<AsyncIterable<Uint8Array>> {
    return this.#rpc.stream(this.#addressOf(to), method, payload, options);
  }

  slow(nodeId: number): void {
    this.#paces.get(nodeId)?.slow();
  }

  sessions() {
    return [...this.#sessions.values()].map((session) => session.status());
  }

  refusals() {
    return this.#metrics.refusals();
  }

  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    for (const session of this.#sessions.values()) session.close("the node stops");
    this.#rpc.close("the node stops");
    await this.#deps.adapter.close();
  }

  #addSession(peer: Peer): void {
    const { clock, random, logger, adapter } = this.#deps;
    const pace = new ReadPace(clock);
    this.#paces.set(peer.nodeId, pace);
    const session = new PeerSession(
      peer,
      {
        clock,
        random,
        logger,
        adapter,
        pace,
        metrics: this.#metrics,
        handlers: {
          onMessage: (from, message) => this.#handlers?.onMessage(from, message),
          onUnreachable: (id) => this.#handlers?.onUnreachable(id),
        },
        onBroken: (endpointId) => {
          this.#rpc.drop(endpointId, "the session broke");
          for (const listener of this.#onBroken) listener(endpointId);
        },
        onNewerStartClaimed: () => this.#served.onNewerStartClaimed?.(peer.nodeId),
      },
      this.#options,
    );
    this.#sessions.set(peer.nodeId, session);
    if (this.#state === "started") session.start();
  }

  #isKnown(endpointId: string): boolean {
    return this.#nodeIds.has(endpointId) || (this.#served.isClientKey?.(endpointId) ?? false);
  }

  /** Moves the connections with an endpoint to the technology that is chosen now. New ones open before old ones end. */
  #renew(endpointId: string): void {
    const nodeId = this.#nodeIds.get(endpointId);
    if (nodeId !== undefined) void this.#sessions.get(nodeId)?.renew();
    this.#rpc.retire(endpointId);
  }

  #addressOf(to: number | EndpointAddress): EndpointAddress {
    if (this.#state === "closed") throw new BlixardError("STOPPED", "the transport is closed");
    const peer = typeof to === "number" ? this.#sessions.get(to)?.endpoint : to;
    if (peer !== undefined) return peer;
    throw notApplied("UNREACHABLE", `node ${String(to)} is not in the member list`);
  }

  #onConnection(connection: Connection): void {
    if (this.#state === "closed") {
      connection.close("the node stops");
      return;
    }
    if (connection.lane === "blixard/rpc/1") {
      this.#rpc.accept(connection);
      return;
    }
    const nodeId = this.#nodeIds.get(connection.remoteEndpointId);
    const session = nodeId === undefined ? undefined : this.#sessions.get(nodeId);
    if (session !== undefined) {
      session.accept(connection);
      return;
    }
    if (!this.#knowsMembers) {
      // Members dial a node that starts before it has read who they are. They come again.
      this.#metrics.refused("starting");
      connection.close("the node is starting");
      return;
    }
    this.#metrics.refused("unknown_peer");
    this.#unknownPeers.happened({ endpointId: connection.remoteEndpointId });
    connection.close("unknown peer");
  }

  async #handleStream(...[call, signal]: Parameters<RpcStreamHandler>): Promise<AsyncIterable<Uint8Array>> {
    if (this.#served.stream === undefined) throw new BlixardError("UNSUPPORTED", "this node serves no streams");
    return this.#served.stream(call, signal);
  }
}

const starting = () => Promise.reject(notApplied("UNAVAILABLE", "the node is starting", { hint: "Try again soon." }));

/** Answers before anybody serves. */
const startingNode: ServedNode = { call: starting, stream: starting };
