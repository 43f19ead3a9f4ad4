/**
 * The ports and the outer types of the transport. An adapter moves bytes over authenticated connections; sessions,
 * lanes, batching, health and retry stand above it, once, in `createTransport`.
 */
import type { Clock, Logger, Metrics, Random } from "@blixard/common";
import type { PeerTransport } from "@blixard/raft";
import type { NodeStart } from "./session/node-start.ts";

/** A named protocol on an endpoint. Each lane between two endpoints has a connection of its own. */
export type Lane = "blixard/raft/1" | "blixard/rpc/1" | "blixard/bulk/1" | "blixard/frames/1";

/** The identity of an endpoint, and hints where to find it. */
export interface EndpointAddress {
  /** Ed25519 public key, 64 hexadecimal digits. */
  readonly endpointId: string;
  /**
   * Hints, the likeliest first: `host:port`, and the URLs of relays at which it may listen, which only Iroh uses. The
   * list may be empty when a discovery service can find the endpoint by its id.
   */
  readonly addresses: readonly string[];
}

/** One ordered two-way byte stream. One read and one write may be pending at a time. */
export interface ByteStream {
  /** Resolves when the bytes were handed to the network; the array may be reused then. */
  write(bytes: Uint8Array): Promise<void>;
  /** Reads 1 to `bytesMax` bytes; undefined when the other side has finished. */
  read(bytesMax: number): Promise<Uint8Array | undefined>;
  /** Ends the writing side. */
  finish(): Promise<void>;
}

export interface Connection {
  readonly lane: Lane;
  /** The technology that carries it, where the adapter has more than one. */
  readonly transport?: string;
  /** Proved by the handshake. */
  readonly remoteEndpointId: string;
  /** What it counts as among those that share places: see `shareOfAddress`. Absent where a technology has no addresses. */
  readonly remoteShare?: string;
  /**
   * Opens a stream; the other side sees it once bytes were written. Waiting bytes of a higher `priority` (default 0)
   * leave first where the adapter can tell streams apart.
   */
  openStream(options?: { readonly priority?: number }): Promise<ByteStream>;
  /**
   * Calls `run` when this turn of the event loop has seen all that waited for it, so that what it sends goes out in one
   * write. Absent where a write costs no more than the wait.
   */
  afterTurn?(run: () => void): void;
  /** The next stream that the other side opened; undefined when the connection is closed. */
  acceptStream(): Promise<ByteStream | undefined>;
  /** Ends everything on the connection at once: the only way out of a pending read or write. */
  close(reason: string): void;
  /** Resolves with the reason when the connection is closed by either side or lost. */
  readonly closed: Promise<string>;
  path(): { readonly kind: "direct" | "relay" | "none"; readonly rttMs: number | null };
}

/** Whom an adapter asks before it gives places to those who connect. */
export interface Doorkeeper {
  /** Whether the key is a member's or a client's now. */
  isKnown(endpointId: string): boolean;
  /** Whether a member is said to be at an address: see `shareOfAddress`. */
  isMemberShare(share: string): boolean;
  /** Told of each connection that was ended because another needed its place. */
  evicted(door: "handshake" | "grpc_stranger" | "grpc_member", share: string): void;
}

/** One technology, or several behind one face. Passes the suite of `@blixard/transport/testing`. */
export interface TransportAdapter {
  readonly kind: "iroh" | "memory" | "grpc" | "dual";
  readonly endpointId: string;
  /** Present only on an adapter with several technologies. */
  readonly choices?: PathChoices;
  /** Whether it listens at a relay, whose URL joins the addresses once it is found. Default: false. */
  readonly usesRelay?: boolean;
  /** Bound addresses, known after `listen`; with the URL of its relay as soon as there is one. */
  addresses(): readonly string[];
  /** Binds and hands over each incoming connection. Without a doorkeeper all are strangers. @throws PORT_IN_USE */
  listen(onConnection: (connection: Connection) => void, doorkeeper?: Doorkeeper): Promise<void>;
  /** @throws UNREACHABLE, UNKNOWN_PEER (wrong identity), UNSUPPORTED_VERSION (lane unknown there) */
  connect(to: EndpointAddress, lane: Lane, options: { readonly signal: AbortSignal }): Promise<Connection>;
  close(): Promise<void>;
}

/** Which of several technologies is used for each endpoint. */
export interface PathChoices {
  choiceFor(endpointId: string): { readonly transport: string; readonly reason: string };
  /** Calls `listener` when the preferred technology reaches an endpoint again, so that the caller connects anew. */
  onReturn(listener: (endpointId: string) => void): void;
}

/** A peer that the member list names. */
export interface Peer extends EndpointAddress {
  readonly nodeId: number;
  /** Further keys of the node, while it changes from one to another: whoever proves one of them is the node. */
  readonly otherEndpointIds?: readonly string[];
  /** The newest start of the node that the cluster has recorded; older ones are refused. */
  readonly start?: NodeStart;
}

/** Who is at the other end of a call. */
export interface RemoteIdentity {
  readonly endpointId: string;
  /** The node to which the member list binds the key; undefined for a key that is no member's. */
  readonly nodeId: number | undefined;
}

/** Answers one unary call. Throws a BlixardError, whose code, message, hint, outcome and details reach the caller. */
export type RpcHandler = (
  call: { readonly method: string; readonly payload: Uint8Array; readonly remote: RemoteIdentity },
  signal: AbortSignal,
) => Promise<Uint8Array>;

/**
 * Answers one stream call. It accepts the call when it resolves with the outgoing items, and refuses it when it rejects
 * as `RpcHandler` does. `input` yields what the caller sends. `signal` aborts when the call is over, however it ended.
 * Outgoing items have 128 KiB at most and are pulled as the caller reads.
 */
export type RpcStreamHandler = (
  call: {
    readonly method: string;
    readonly payload: Uint8Array;
    readonly remote: RemoteIdentity;
    readonly input: AsyncIterable<Uint8Array>;
  },
  signal: AbortSignal,
) => Promise<AsyncIterable<Uint8Array>>;

export interface StreamCallOptions {
  /** Limits the opening. A call that was accepted lives until one side ends it. */
  readonly timeoutMs: number;
  /** Ends the call when it aborts, at any time. */
  readonly signal?: AbortSignal;
  /** The outgoing items, of 128 KiB at most. Their end closes this direction; an error of theirs cancels the call. */
  readonly input?: AsyncIterable<Uint8Array>;
}

export type SessionState = "idle" | "dialing" | "ready" | "suspect" | "backoff" | "closed";

export interface PeerSessionStatus {
  readonly nodeId: number;
  /** The key of the member, which its connection proves. */
  readonly endpointId: string;
  readonly state: SessionState;
  /** The technology of the connection in use. */
  readonly transport: string;
  /** Why this one is in use; null when there is no choice. */
  readonly transportReason: string | null;
  readonly path: "direct" | "relay" | "none";
  readonly rttMs: number | null;
  /** Milliseconds since anything was heard; null before the first time. */
  readonly lastContactMs: number | null;
  readonly queuedMessages: number;
  readonly droppedMessages: number;
  /** Random for each start of the peer's process; null while there is no connection. */
  readonly instance: number | null;
  readonly lastError: string | null;
}

export interface TransportDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly adapter: TransportAdapter;
}

export interface TransportOptions {
  readonly nodeId: number;
  /** Largest frame accepted or sent, in bytes: at least `frameBytesMin` of the protocol, 3 MiB + 256. Default: 4 MiB. */
  readonly frameBytesMax?: number;
  /** Interval of the sessions' own heartbeats; a session is dead after three missed. Default 300 ms. */
  readonly heartbeatMs?: number;
  /** Connections of strangers on the RPC lane at once. Default: 64. */
  readonly strangersMax?: number;
  /** Whether frames of 256 bytes and more are deflated when that saves a tenth. Default: where Iroh may carry them. */
  readonly compress?: boolean;
}

/** What a node answers to others, and says of itself when they connect. */
export interface ServedNode {
  readonly call: RpcHandler;
  /** Default: the node serves no streams, and answers UNSUPPORTED. */
  readonly stream?: RpcStreamHandler;
  /**
   * Whether a key that is no member's is a client key, to which a ticket for an operator or a viewer gave rights. From
   * every other key, a stranger's, only small frames and few connections are taken. Called for each frame. Default: no
   * key is a client key.
   */
  isClientKey?(endpointId: string): boolean;
  /** Which start of the node this is; called at each greeting. Default: not known, so that no peer refuses it as outdated. */
  start?(): NodeStart | undefined;
  /**
   * Called at each greeting in which a member says that it knows a newer start of this node. The transport believes
   * nobody: whether the node must not go on is for the program to find out.
   */
  onNewerStartClaimed?(by: number): void;
}

/** The transport of one node. */
export interface Transport {
  /** Carries Raft messages between members. */
  readonly peers: PeerTransport;
  /** Sets who answers from now on. Before the first time the transport answers UNAVAILABLE by itself. */
  serve(node: ServedNode): void;
  /** Gives calls of these methods to a part of the program, ahead of who serves. @throws INVALID_ARGUMENT for a name that is taken */
  addMethods(methods: ReadonlyMap<string, RpcHandler>): void;
  /** Binds the adapter, takes connections and dials the members. */
  start(): Promise<void>;
  addresses(): readonly string[];
  /** What {@link TransportAdapter.usesRelay} says. */
  readonly usesRelay: boolean;
  readonly endpointId: string;
  /** Random for each start of this process; peers see it in their sessions. */
  readonly instance: number;
  /** Replaces the member list: sessions to removed peers end, new peers are dialled, changed addresses are used. */
  setPeers(peers: readonly Peer[]): void;
  /** Finds a member by its node id or its key. Returns undefined for this node itself, and when no member has it now. */
  peer(key: number | string): Peer | undefined;
  /** Calls the listener, with the key of the member, whenever a session breaks. */
  onBroken(listener: (endpointId: string) => void): void;
  /** Calls a method at a member or at any endpoint. @throws the handler's error, UNREACHABLE or DEADLINE_EXCEEDED */
  call(
    to: number | EndpointAddress,
    method: string,
    payload: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array>;
  /**
   * Opens a stream call. Resolves with the incoming items when the other side has accepted the call. A reader that
   * stops cancels the call, and a slow reader holds up only its own call.
   * @throws as `call`; the reader gets the handler's error, or UNREACHABLE, after the items that came before it
   */
  stream(
    to: number | EndpointAddress,
    method: string,
    payload: Uint8Array,
    options: StreamCallOptions,
  ): Promise<AsyncIterable<Uint8Array>>;
  /** Reads what a member sends more slowly for a moment: for one that asks for more than it may have. */
  slow(nodeId: number): void;
  sessions(): readonly PeerSessionStatus[];
  /** Messages and connections refused since the start, by reason: `unknown_peer`, `forged_from`, `bad_frame`, ... */
  refusals(): Readonly<Record<string, number>>;
  close(): Promise<void>;
}
