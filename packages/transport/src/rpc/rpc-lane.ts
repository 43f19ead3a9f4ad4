/**
 * The RPC lane of one node: the connections with members and strangers, and the calls that come in. One connection
 * serves both directions. When both sides dialled at once, both connections are used until one of them is idle.
 */
import {
  BlixardError,
  type Clock,
  type ErrorCode,
  errorCodeOf,
  notApplied,
  offAbort,
  onAbort,
  type Random,
  setRunnableTimer,
  toBlixardError,
  withDeadline,
} from "@blixard/common";
import { SharedPlaces } from "@blixard/identity";
import type { FrameOptions } from "../frames/frame.ts";
import type { ReadPace } from "../frames/read-pace.ts";
import type { Refusal, TransportMetrics } from "../metrics.ts";
import { briefly, OverlappedDial } from "../overlapped-dial.ts";
import { transportLimits } from "../transport-limits.ts";
import type {
  Connection,
  EndpointAddress,
  RpcHandler,
  RpcStreamHandler,
  StreamCallOptions,
  TransportAdapter,
} from "../transport-types.ts";
import { RpcConnection } from "./rpc-connection.ts";

export interface RpcLaneDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: TransportMetrics;
  readonly adapter: TransportAdapter;
  /** The member that the key belongs to now; undefined for a stranger. */
  readonly nodeIdOf: (endpointId: string) => number | undefined;
  /** Whether the key is a member's, or has rights as that of a person has. */
  readonly isKnown: (endpointId: string) => boolean;
  /** How fast a member is read now; undefined for a stranger. */
  readonly paceOf: (endpointId: string) => ReadPace | undefined;
  /** Told when a stranger's connection was ended because another needed its place. */
  readonly onStrangerEvicted: (share: string) => void;
  readonly handler: RpcHandler;
  readonly streamHandler: RpcStreamHandler;
}

export interface RpcLaneOptions extends FrameOptions {
  readonly heartbeatMs: number;
  /** Connections of strangers at once. */
  readonly strangersMax: number;
}

export interface CallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export class RpcLane {
  readonly #deps: RpcLaneDeps;
  readonly #options: RpcLaneOptions;
  readonly #connections = new Map<string, Set<RpcConnection>>();
  /** Connections that finish their open calls, and on which this node makes no new ones. */
  readonly #retired = new WeakSet<RpcConnection>();
  /** One dial at a time to an endpoint, shared by the calls that wait for it. */
  readonly #dials = new Map<string, Promise<RpcConnection>>();
  readonly #closing = new AbortController();
  readonly #strangers: SharedPlaces<RpcConnection>;
  #servedCalls = 0;
  #servedStreams = 0;

  constructor(deps: RpcLaneDeps, options: RpcLaneOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#strangers = new SharedPlaces({
      placesMax: options.strangersMax,
      evict: (connection, share) => {
        connection.close("others needed its place");
        deps.onStrangerEvicted(share);
      },
    });
  }

  accept(connection: Connection): void {
    const refusal = this.#refusalOf(connection.remoteEndpointId);
    if (refusal === undefined) {
      const accepted = this.#add(connection);
      if (!this.#deps.isKnown(connection.remoteEndpointId)) this.#takePlace(accepted, connection);
      return;
    }
    this.#deps.metrics.refused(refusal);
    connection.close(refusal);
  }

  call(to: EndpointAddress, method: string, payload: Uint8Array, options: CallOptions): Promise<Uint8Array> {
    const connection = this.#find(to.endpointId);
    if (connection !== undefined) return connection.call(method, payload, timeoutMsOf(options), options.signal);
    return this.#withConnection(to, method, options, (connection, leftMs, signal) =>
      connection.call(method, payload, leftMs, signal),
    );
  }

  /** Resolves with the incoming items once the other side has accepted the call. The deadline covers only the opening. */
  stream(
    to: EndpointAddress,
    method: string,
    payload: Uint8Array,
    options: StreamCallOptions,
  ): Promise<AsyncIterable<Uint8Array>> {
    const { signal, input } = options;
    return this.#withConnection(to, method, options, (connection, timeoutMs, opening) =>
      connection.stream({ method, payload, timeoutMs }, { opening, signal, input }),
    );
  }

  #withConnection<T>(
    to: EndpointAddress,
    method: string,
    options: CallOptions,
    work: (connection: RpcConnection, leftMs: number, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const timeoutMs = timeoutMsOf(options);
    const { clock } = this.#deps;
    const startMs = clock.monotonicMs();
    const deadline = {
      clock,
      timeoutMs,
      what: method,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    };
    return withDeadline(deadline, async (signal) => {
      const connection = this.#find(to.endpointId) ?? (await this.#dial(to));
      signal.throwIfAborted();
      return work(connection, Math.max(1, timeoutMs - (clock.monotonicMs() - startMs)), signal);
    });
  }

  /** Closes the connections with an endpoint that was removed or is known to be dead. */
  drop(endpointId: string, reason: string): void {
    for (const connection of [...(this.#connections.get(endpointId) ?? [])]) connection.close(reason);
  }

  /** Makes the next call to the endpoint dial a new connection. The open calls on the present ones go on. */
  retire(endpointId: string): void {
    for (const connection of this.#connections.get(endpointId) ?? []) this.#retired.add(connection);
  }

  close(reason: string): void {
    this.#closing.abort(new BlixardError("STOPPED", reason));
    for (const endpointId of [...this.#connections.keys()]) this.drop(endpointId, reason);
  }

  #find(endpointId: string): RpcConnection | undefined {
    let newest: RpcConnection | undefined;
    for (const connection of this.#connections.get(endpointId) ?? []) {
      if (!this.#retired.has(connection)) newest = connection;
    }
    return newest;
  }

  #dial(to: EndpointAddress): Promise<RpcConnection> {
    const key = `${to.endpointId} ${to.addresses.join()}`;
    const running = this.#dials.get(key);
    if (running !== undefined) return running;
    const dial = dialWithin(this.#deps, to, this.#closing.signal)
      .then((connection) => this.#add(connection))
      .finally(() => this.#dials.delete(key));
    this.#dials.set(key, dial);
    return dial;
  }

  #add(connection: Connection): RpcConnection {
    const endpointId = connection.remoteEndpointId;
    const member = this.#deps.nodeIdOf(endpointId) !== undefined;
    const rpc = new RpcConnection(
      connection,
      {
        clock: this.#deps.clock,
        metrics: this.#deps.metrics,
        isKnown: () => this.#deps.isKnown(endpointId),
        pace: () => this.#deps.paceOf(endpointId),
        serve: (call, signal) => this.#serve(endpointId, call, signal),
        serveStream: (call, signal) => this.#serveStream(endpointId, call, signal),
        onCalls: (made, open) => this.#strangers.heard(made, open),
        onEnd: (ended) => this.#remove(endpointId, ended),
      },
      {
        ...this.#options,
        idleCloseMs: member ? transportLimits.rpcIdleCloseMs : transportLimits.rpcStrangerIdleCloseMs,
      },
    );
    const known = this.#connections.get(endpointId) ?? new Set();
    known.add(rpc);
    this.#connections.set(endpointId, known);
    return rpc;
  }

  #takePlace(rpc: RpcConnection, connection: Connection): void {
    if (this.#strangers.isFull) {
      // Who was a stranger may be a member by now.
      for (const other of [...this.#strangers.holders()]) {
        if (this.#deps.isKnown(other.remoteEndpointId)) this.#strangers.leave(other);
      }
    }
    this.#strangers.take(rpc, connection.remoteShare ?? connection.remoteEndpointId);
  }

  #remove(endpointId: string, connection: RpcConnection): void {
    this.#strangers.leave(connection);
    const known = this.#connections.get(endpointId);
    known?.delete(connection);
    if (known?.size === 0) this.#connections.delete(endpointId);
  }

  #refusalOf(endpointId: string): Refusal | undefined {
    if (this.#closing.signal.aborted) return "closing";
    const known = this.#connections.get(endpointId)?.size ?? 0;
    return known >= transportLimits.rpcConnectionsPerEndpointMax ? "too_many_connections" : undefined;
  }

  async #serve(
    endpointId: string,
    call: { readonly method: string; readonly payload: Uint8Array },
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    if (this.#servedCalls >= transportLimits.rpcServedMax) {
      throw notApplied("OVERLOADED", "this node serves too many calls");
    }
    this.#servedCalls++;
    try {
      // The identity is looked up for each call: a removed member is a stranger from that moment on.
      const remote = { endpointId, nodeId: this.#deps.nodeIdOf(endpointId) };
      return await this.#deps.handler({ ...call, remote }, signal);
    } finally {
      this.#servedCalls--;
    }
  }

  async #serveStream(
    endpointId: string,
    call: { readonly method: string; readonly payload: Uint8Array; readonly input: AsyncIterable<Uint8Array> },
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    if (this.#servedStreams >= transportLimits.rpcStreamsServedMax) {
      throw notApplied("OVERLOADED", "this node serves too many streams");
    }
    this.#servedStreams++;
    onAbort(signal, () => this.#servedStreams--);
    // Looked up once: when a member is removed, its connections are dropped, and the streams on them end.
    const remote = { endpointId, nodeId: this.#deps.nodeIdOf(endpointId) };
    return this.#deps.streamHandler({ ...call, remote }, signal);
  }
}

function timeoutMsOf({ timeoutMs }: CallOptions): number {
  return Math.min(timeoutMs, transportLimits.rpcTimeoutMsMax);
}

/** The first connection of overlapping dials; gives up after `rpcDialGiveUpMs`, so that a caller can ask another. */
function dialWithin(deps: RpcLaneDeps, to: EndpointAddress, closing: AbortSignal): Promise<Connection> {
  const { adapter, clock, metrics } = deps;
  return new Promise((resolve, reject) => {
    let settled = false;
    let lastError: unknown;
    const settle = (run: () => void) => {
      if (settled) return;
      settled = true;
      giveUp.cancel();
      offAbort(closing, stop);
      dial.stop("settled");
      run();
    };
    const fail = (error: unknown) =>
      settle(() =>
        reject(
          notApplied(
            codeOfDialError(error),
            `node ${to.endpointId.slice(0, 10)} cannot be reached: ${briefly(error)}`,
            {
              cause: error,
              details: { endpointId: to.endpointId, addresses: to.addresses },
            },
          ),
        ),
      );
    const dial = new OverlappedDial(deps, {
      attempt: async (signal) => {
        const connection = await adapter.connect(to, "blixard/rpc/1", { signal });
        metrics.dialled("connected");
        if (settled) connection.close("another dial was faster");
        else settle(() => resolve(connection));
      },
      onFailure: (error) => {
        metrics.dialled("failed");
        lastError = error;
        const code = errorCodeOf(error);
        if (code === "UNKNOWN_PEER" || code === "UNSUPPORTED_VERSION") fail(error);
      },
    });
    const stop = () => fail(closing.reason);
    const giveUp = setRunnableTimer(clock, transportLimits.rpcDialGiveUpMs, () =>
      fail(lastError ?? new BlixardError("UNREACHABLE", "no answer")),
    );
    onAbort(closing, stop);
    dial.start(0);
  });
}

function codeOfDialError(error: unknown): ErrorCode {
  const { code } = toBlixardError(error, "UNREACHABLE", "dial");
  return code === "CANCELLED" ? "UNREACHABLE" : code;
}
