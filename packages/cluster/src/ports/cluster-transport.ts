/** What the cluster needs of a transport. The `Transport` of `@blixard/transport` is one. */
import type { PeerTransport } from "@blixard/raft";

/** Where an endpoint can be found: its key as 64 hexadecimal digits, and `host:port` hints. */
export interface ClusterEndpoint {
  readonly endpointId: string;
  readonly addresses: readonly string[];
}

export interface ClusterPeer extends ClusterEndpoint {
  readonly nodeId: number;
  /** Further keys of the node, while it changes from one to another. */
  readonly otherEndpointIds?: readonly string[];
  /** The newest start of the node that is recorded: a process that says an older one is not the node any more. */
  readonly start?: NodeStart;
}

/** Orders the starts of a node: by how often the cluster has admitted it, and then by how often its store was opened. */
export interface NodeStart {
  readonly incarnation: number;
  readonly starts: number;
}

/** One call that came in. `remote` was proved by the connection; `nodeId` is undefined for a stranger. */
export interface IncomingCall {
  readonly method: string;
  readonly payload: Uint8Array;
  readonly remote: { readonly endpointId: string; readonly nodeId: number | undefined };
}

/** A stream call that came in. */
export interface IncomingStream extends IncomingCall {
  /** What the caller sends, until it ends it. */
  readonly input: AsyncIterable<Uint8Array>;
}

export interface SessionView {
  readonly nodeId: number;
  /** The key that the member list binds to the node, and that its connection proves. */
  readonly endpointId?: string;
  readonly transport: string;
  /** Why it is that one, where there is a choice. */
  readonly transportReason?: string | null;
  readonly path: "direct" | "relay" | "none";
  readonly rttMs: number | null;
  /** Milliseconds since anything was heard; null before the first time. */
  readonly lastContactMs: number | null;
  /** `idle`, `dialing`, `ready`, `suspect`, `backoff` or `closed`. */
  readonly state?: string;
  /** Raft messages that wait to be sent. */
  readonly queuedMessages?: number;
  /** Why the last connection or dial failed; null once it is connected again. */
  readonly lastError?: string | null;
  /** Random for each life of the peer's process; absent or null when it is not known. */
  readonly instance?: number | null;
}

/** The way of bulk data to a node; `reason` says why it is not a direct one. */
export interface BulkRouteView {
  readonly nodeId: number;
  readonly route: "direct" | "iroh" | "rpc" | "none";
  readonly reason: string | null;
}

/** What a node answers to others, and says of itself when they connect. */
export interface ServedNode {
  /** Answers a call of the RPC lane. @throws BlixardError */
  call(call: IncomingCall, signal: AbortSignal): Promise<Uint8Array>;
  /** Answers a stream call of the RPC lane. @throws BlixardError */
  stream(call: IncomingStream, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** True for a key that is no node's and got rights by a ticket, as far as this node knows. */
  isClientKey(endpointId: string): boolean;
  /** Undefined when nobody counts the starts of this node. */
  start(): NodeStart | undefined;
  /** A member says that it knows a newer start of this node. */
  onNewerStartClaimed(by: number): void;
}

export interface ClusterTransport {
  /** Sets who answers from now on. Before the first time the transport answers UNAVAILABLE by itself. */
  serve(node: ServedNode): void;
  /** Carries Raft messages between members. */
  readonly peers: PeerTransport;
  readonly endpointId: string;
  /** Random for each life of this process. */
  readonly instance?: number;
  /** Listens at a relay, whose URL comes to the addresses when it was found. Default: not. */
  readonly usesRelay?: boolean;
  addresses(): readonly string[];
  /** Replaces the member list. */
  setPeers(peers: readonly ClusterPeer[]): void;
  /** @throws the handler's error, UNREACHABLE or DEADLINE_EXCEEDED */
  call(
    to: number | ClusterEndpoint,
    method: string,
    payload: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array>;
  /** Opens a stream call; resolves when the other side has accepted it. Absent where none is ever opened. */
  stream?(
    to: number | ClusterEndpoint,
    method: string,
    payload: Uint8Array,
    options: {
      readonly timeoutMs: number;
      readonly signal?: AbortSignal;
      readonly input?: AsyncIterable<Uint8Array>;
    },
  ): Promise<AsyncIterable<Uint8Array>>;
  /** A member asks for more than it may have: what it sends is read more slowly for a moment. Absent where that cannot be. */
  slow?(nodeId: number): void;
  sessions(): readonly SessionView[];
}
