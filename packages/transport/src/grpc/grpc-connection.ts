/**
 * A connection of the transport on one HTTP/2 connection: a control call that lasts as long as it does, and a call for
 * each stream. Only the client can make calls, so the server asks it over the control call to open a stream.
 */
import type { TLSSocket } from "node:tls";
import type { Clock } from "@blixard/common";
import { transportLimits } from "../transport-limits.ts";
import type { ByteStream, Connection, Lane } from "../transport-types.ts";
import { closedError, GrpcStream } from "./grpc-stream.ts";
import type { CallStream, Control } from "./node-proto.ts";

export interface GrpcConnectionDeps {
  readonly clock: Clock;
  readonly lane: Lane;
  readonly remoteEndpointId: string;
  /** Absent at the dialler. */
  readonly remoteShare?: string;
  readonly control: CallStream;
  readonly socket: TLSSocket;
  /** Makes the call of a stream, with the number that the server gave it; absent at the server. */
  readonly callStream?: (number: number | undefined) => { readonly call: CallStream; readonly abort: () => void };
  /** Frees what belongs to the connection beside its socket. */
  readonly release: () => void;
}

/** How long the goodbye may take before the socket is destroyed. */
const goodbyeMs = 250;
/** The round trip is measured when somebody asks for it, at most this often. */
const pingIntervalMs = 1_000;

export class GrpcConnection implements Connection {
  readonly transport = "grpc";
  readonly lane: Lane;
  readonly remoteEndpointId: string;
  readonly remoteShare?: string;
  readonly closed: Promise<string>;
  /** Resolves when the socket is gone, too. */
  readonly released: Promise<void>;
  readonly #deps: GrpcConnectionDeps;
  readonly #streams = new Set<GrpcStream>();
  readonly #arrived: GrpcStream[] = [];
  readonly #accepting: ((stream: ByteStream | undefined) => void)[] = [];
  readonly #requested = new Map<number, { resolve(stream: GrpcStream): void; reject(error: Error): void }>();
  #requests = 0;
  #ended = false;
  #resolveClosed: (reason: string) => void = () => {};
  #rttMs: number | null = null;
  #ping: { readonly number: number; readonly sentMs: number } | undefined;
  #pings = 0;

  constructor(deps: GrpcConnectionDeps) {
    this.#deps = deps;
    this.lane = deps.lane;
    this.remoteEndpointId = deps.remoteEndpointId;
    if (deps.remoteShare !== undefined) this.remoteShare = deps.remoteShare;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.released = new Promise((resolve) => {
      if (deps.socket.closed) resolve();
      else deps.socket.once("close", () => resolve());
    });
    void this.released.then(() => this.#cut("the connection was lost"));
    deps.control.on("data", (message: Control) => this.#onControl(message));
    deps.control.on("error", (error: Error) => this.#cut(error.message));
    deps.control.on("cancelled", () => this.#cut("the connection was lost"));
    deps.control.on("end", () => this.#cut("the connection was ended by the peer"));
  }

  async openStream(): Promise<ByteStream> {
    if (this.#ended) throw closedError("it was closed before");
    if (this.#deps.callStream !== undefined) return this.#callStream(this.#deps.callStream, undefined);
    this.#requests++;
    const number = this.#requests;
    return new Promise((resolve, reject) => {
      this.#requested.set(number, { resolve, reject });
      this.#say({ openStream: { number } });
    });
  }

  async acceptStream(): Promise<ByteStream | undefined> {
    const stream = this.#arrived.shift();
    if (stream !== undefined || this.#ended) return this.#ended ? undefined : stream;
    return new Promise((resolve) => this.#accepting.push(resolve));
  }

  /** A call of the client for a stream; `number` when it was asked for here. False when it is one too many. */
  addCall(call: CallStream, number: number | undefined, abort: () => void): boolean {
    if (this.#ended) return false;
    if (number !== undefined) {
      const request = this.#requested.get(number);
      this.#requested.delete(number);
      request?.resolve(this.#newStream(call, abort));
      return request !== undefined;
    }
    return this.#arrive(() => this.#newStream(call, abort));
  }

  close(reason: string): void {
    if (this.#ended) return;
    this.#end(reason);
    // Without a timer of its own a peer that reads nothing would keep the socket for ever.
    const timer = this.#deps.clock.setTimer(goodbyeMs, () => this.#destroy());
    this.#deps.control.write({ close: { reason: reason.slice(0, 200) } } satisfies Control, () => {
      timer.cancel();
      // The last bytes of TLS leave in the next turn.
      setImmediate(() => this.#destroy());
    });
  }

  path() {
    if (this.#ended) return { kind: "none" as const, rttMs: null };
    this.#measure();
    return { kind: "direct" as const, rttMs: this.#rttMs };
  }

  #measure(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#ping !== undefined && nowMs - this.#ping.sentMs < pingIntervalMs) return;
    this.#pings = (this.#pings + 1) >>> 0;
    this.#ping = { number: this.#pings, sentMs: nowMs };
    this.#say({ ping: { number: this.#pings } });
  }

  #onControl(message: Control): void {
    if (this.#ended) return;
    if (message.close) this.#cut(`closed by peer: ${message.close.reason.slice(0, 200)}`);
    else if (message.ping) this.#onPing(message.ping.number);
    else if (message.pong) this.#onPong(message.pong.number);
    else if (message.openStream) this.#onRequest(message.openStream.number);
  }

  /** Ends the connection of a peer that sends pings and does not read the answers, which would fill our memory. */
  #onPing(number: number): void {
    if (this.#deps.control.writableNeedDrain) this.#cut("the peer does not read the answers to its pings");
    else this.#say({ pong: { number } });
  }

  #onPong(number: number): void {
    if (this.#ping?.number !== number) return;
    this.#rttMs = this.#deps.clock.monotonicMs() - this.#ping.sentMs;
  }

  #onRequest(number: number): void {
    const { callStream } = this.#deps;
    if (callStream === undefined) this.#cut("only the server asks for streams");
    else if (!this.#arrive(() => this.#callStream(callStream, number))) this.#cut("the peer opened too many streams");
  }

  #callStream(callStream: NonNullable<GrpcConnectionDeps["callStream"]>, number: number | undefined): GrpcStream {
    const { call, abort } = callStream(number);
    return this.#newStream(call, abort);
  }

  #newStream(call: CallStream, abort: () => void): GrpcStream {
    const stream: GrpcStream = new GrpcStream(call, { abort, onEnd: () => this.#streams.delete(stream) });
    this.#streams.add(stream);
    return stream;
  }

  #arrive(make: () => GrpcStream): boolean {
    // One more than a well-behaved peer needs, so that the link above sees the abuse and counts it.
    if (this.#arrived.length > transportLimits.incomingStreamsMax) return false;
    const accept = this.#accepting.shift();
    if (accept === undefined) this.#arrived.push(make());
    else accept(make());
    return true;
  }

  #say(message: Control): void {
    this.#deps.control.write(message);
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const stream of [...this.#streams]) stream.fail(reason);
    for (const { reject } of this.#requested.values()) reject(closedError(reason));
    this.#requested.clear();
    for (const accept of this.#accepting.splice(0)) accept(undefined);
    this.#resolveClosed(reason);
  }

  /** Ends without a goodbye: the other side knows, or does not deserve one. */
  #cut(reason: string): void {
    this.#end(reason);
    this.#destroy();
  }

  #destroy(): void {
    this.#deps.socket.destroy();
    this.#deps.release();
  }
}
