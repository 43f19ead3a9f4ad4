/**
 * Calls over one connection, in both directions, distinguished by ids. Small frames and large ones have a stream each, so
 * that a chunk of an image does not hold up a status call. While calls are open, and while stream calls are served, the
 * connection is pinged; ten heartbeats without a frame end it, and with it the calls, whose outcome is then unknown.
 */
import {
  abortReason,
  BlixardError,
  type Clock,
  errorCodeOf,
  LazySignal,
  notApplied,
  offAbort,
  onAbort,
  Semaphore,
  type Timer,
  untilNextMs,
} from "@blixard/common";
import {
  decodeRpcFrame,
  encodeRpcBatch,
  encodeRpcFrame,
  fromRpcError,
  type RpcFrame,
  rpcBatchFramesMax,
  rpcCapability,
  rpcFramesIn,
  toRpcError,
} from "@blixard/protocol";
import { type FrameOptions, frameBytesMaxOf } from "../frames/frame.ts";
import { FrameLink, type LinkEnd } from "../frames/frame-link.ts";
import type { ReadPace } from "../frames/read-pace.ts";
import type { StreamClass } from "../frames/stream-class.ts";
import type { TransportMetrics } from "../metrics.ts";
import { Silence } from "../session/silence.ts";
import { transportLimits } from "../transport-limits.ts";
import type { Connection } from "../transport-types.ts";
import { RpcStreams, type RpcStreamsDeps, type StreamOptions, type StreamRequest } from "./rpc-streams.ts";

export interface RpcConnectionDeps {
  readonly clock: Clock;
  readonly metrics: TransportMetrics;
  /** Answers a call. Rejects with the error that the caller gets. */
  readonly serve: (
    call: { readonly method: string; readonly payload: Uint8Array },
    signal: AbortSignal,
  ) => Promise<Uint8Array>;
  /** Answers a stream call: resolves when it is accepted. */
  readonly serveStream: RpcStreamsDeps["serve"];
  /** Whether the key at the other end has rights here now. */
  readonly isKnown: () => boolean;
  readonly pace: () => ReadPace | undefined;
  /** Told whenever calls begin or end whether any is open. */
  readonly onCalls: (connection: RpcConnection, open: boolean) => void;
  readonly onEnd: (connection: RpcConnection) => void;
}

export interface RpcConnectionOptions extends FrameOptions {
  readonly heartbeatMs: number;
  /** The connection closes after this long without a call. */
  readonly idleCloseMs: number;
}

interface OpenCall {
  readonly resolve: (payload: Uint8Array) => void;
  readonly reject: (error: BlixardError) => void;
}

interface ServedCall {
  readonly signal: LazySignal;
  readonly timer: Timer;
}

interface QueuedFrame {
  readonly bytes: Uint8Array;
  /** Called when the frame leaves the queue. */
  readonly taken?: () => void;
}

export class RpcConnection {
  readonly #deps: RpcConnectionDeps;
  readonly #options: RpcConnectionOptions;
  readonly #link: FrameLink;
  readonly #calls = new Map<number, OpenCall>();
  /** Calls that are served, or wait for it. */
  readonly #served = new Map<number, ServedCall>();
  #servedBytes = 0;
  readonly #turns = new Semaphore(transportLimits.rpcServedPerConnectionMax);
  readonly #streams: RpcStreams;
  readonly #outbound = new Map<StreamClass, QueuedFrame[]>([
    ["urgent", []],
    ["normal", []],
  ]);
  #outboundBytes = 0;
  #nextCallId = 1;
  #asked = false;
  /** Whether this side has said what it can read. */
  #hasGreeted = false;
  #otherTakesBatches = false;
  #heard = true;
  #silence: Silence | undefined;
  #heartbeat: Timer | undefined;
  #idle: Timer | undefined;

  constructor(connection: Connection, deps: RpcConnectionDeps, options: RpcConnectionOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#link = new FrameLink(
      connection,
      options,
      {
        // A stranger that this side has called may send a long answer.
        isStranger: () => !this.#asked && !deps.isKnown(),
        pace: deps.pace,
        next: (streamClass) => this.#next(streamClass),
        onFrame: (frame) => this.#onPayload(frame.payload),
        onEnd: (end) => this.#onEnd(end),
      },
      deps.metrics,
    );
    this.#streams = new RpcStreams({
      clock: deps.clock,
      nextId: () => this.#nextCallId++,
      post: (frame) => this.#post(frame, "normal"),
      postItem: (frame, taken) => this.#enqueue("normal", { bytes: encodeRpcFrame(frame), taken }),
      serve: deps.serveStream,
      onChange: (side, change) => {
        deps.metrics.streamsChanged(side, change);
        this.#onCallsChanged();
      },
      onNotReading: () => this.#endNotReading(),
    });
    this.#armIdle();
  }

  get remoteEndpointId(): string {
    return this.#link.connection.remoteEndpointId;
  }

  get ended(): boolean {
    return this.#link.ended;
  }

  /**
   * Sends one call. When `timeoutMs` are over, or `signal` aborts, it rejects and the other side gets a cancel.
   * @throws DEADLINE_EXCEEDED, OVERLOADED, UNREACHABLE, and the error of the other side
   */
  call(method: string, payload: Uint8Array, timeoutMs: number, signal?: AbortSignal): Promise<Uint8Array> {
    if (this.#calls.size >= transportLimits.rpcCallsPerConnectionMax) {
      return Promise.reject(overloaded("too many calls are open to this node"));
    }
    if (signal?.aborted) return Promise.reject(abortReason(signal));
    this.#asked = true;
    const id = this.#nextCallId++;
    const refusal = this.#post({ type: "request", id, method, timeoutMs: Math.ceil(timeoutMs), payload });
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const settled = () => {
        timer.cancel();
        offAbort(signal, abort);
        this.#calls.delete(id);
        this.#armIdle();
      };
      const giveUp = (error: Error) => {
        settled();
        this.#post({ type: "cancel", id });
        reject(error);
      };
      const abort = () => giveUp(abortReason(signal));
      const timer = this.#deps.clock.setTimer(timeoutMs, () => giveUp(tooLate(method, timeoutMs)));
      this.#calls.set(id, {
        resolve: (answer) => {
          settled();
          resolve(answer);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
      onAbort(signal, abort);
      this.#armHeartbeat();
      this.#armIdle();
    });
  }

  /** Opens a stream call. Resolves with the incoming items when the other side has accepted the call. */
  stream(request: StreamRequest, options: StreamOptions): Promise<AsyncIterable<Uint8Array>> {
    this.#asked = true;
    return this.#streams.open(request, options);
  }

  close(reason: string): void {
    if (this.ended) return;
    this.#link.close(reason);
    this.#onEnd({ reason, refusal: undefined });
  }

  /** What a later release has sent is left out, and the rest is not. */
  #onPayload(payload: Uint8Array): void {
    let unsupported: unknown;
    for (const bytes of rpcFramesIn(payload)) {
      try {
        this.#onFrame(decodeRpcFrame(bytes));
      } catch (error) {
        if (errorCodeOf(error) !== "UNSUPPORTED_VERSION") throw error;
        unsupported = error;
      }
    }
    if (unsupported !== undefined) throw unsupported;
  }

  #onFrame(frame: RpcFrame): void {
    this.#heard = true;
    switch (frame.type) {
      case "request":
        this.#assertNewId(frame.id);
        void this.#serve(frame);
        return;
      case "open":
        this.#assertNewId(frame.id);
        this.#streams.onFrame(frame);
        return;
      case "item":
      case "end":
      case "credit":
        this.#streams.onFrame(frame);
        return;
      case "response":
        this.#calls.get(frame.id)?.resolve(frame.payload);
        return;
      case "error":
        this.#onError(frame.id, fromRpcError(frame.error));
        return;
      case "cancel":
        this.#onCancel(frame.id, new BlixardError("CANCELLED", "the caller cancelled"));
        return;
      case "ping":
        this.#post({ type: "pong", id: frame.id });
        return;
      case "pong":
        if ((frame.id & rpcCapability.batches) !== 0) this.#otherTakesBatches = true;
        if ((frame.id & rpcCapability.frameDictionary) !== 0) this.#link.useDictionary();
        return;
      default:
        frame satisfies never;
    }
  }

  #assertNewId(id: number): void {
    if (!this.#served.has(id) && !this.#streams.serves(id)) return;
    throw new BlixardError("FRAME_CORRUPT", "a call id was used twice");
  }

  #onError(id: number, error: BlixardError): void {
    this.#calls.get(id)?.reject(error);
    this.#streams.onError(id, error);
  }

  #onCancel(id: number, reason: BlixardError): void {
    this.#served.get(id)?.signal.abort(reason);
    this.#streams.onCancel(id, reason);
  }

  /** More than are served at once wait for their turn, in the order in which they came, and no longer than their callers. */
  async #serve(request: Extract<RpcFrame, { type: "request" }>): Promise<void> {
    const { id, method, payload } = request;
    if (!this.#takes(payload.length)) {
      this.#answer({ type: "error", id, error: toRpcError(overloaded("too many calls are served for this node")) });
      return;
    }
    const signal = new LazySignal();
    const timeoutMs = Math.min(request.timeoutMs, transportLimits.rpcTimeoutMsMax);
    const timer = this.#deps.clock.setTimer(timeoutMs, () => signal.abort(tooLate(method, timeoutMs)));
    this.#served.set(id, { signal, timer });
    this.#servedBytes += payload.length;
    this.#armIdle();
    try {
      const answer = await this.#turns.run(() => this.#deps.serve({ method, payload }, signal), signal);
      this.#answer({ type: "response", id, payload: answer });
    } catch (error) {
      this.#answer({ type: "error", id, error: toRpcError(error) });
    } finally {
      timer.cancel();
      this.#served.delete(id);
      this.#servedBytes -= payload.length;
      this.#armIdle();
    }
  }

  /** Strangers wait for nothing. */
  #takes(bytes: number): boolean {
    const { rpcServedPerConnectionMax, rpcWaitingPerConnectionMax, rpcServedBytesMax } = transportLimits;
    if (this.#served.size < rpcServedPerConnectionMax) return true;
    const isRoom = this.#served.size < rpcServedPerConnectionMax + rpcWaitingPerConnectionMax;
    return isRoom && this.#servedBytes + bytes <= rpcServedBytesMax && this.#deps.isKnown();
  }

  #answer(frame: RpcFrame): void {
    const refusal = this.#post(frame);
    if (refusal === undefined || this.ended) return;
    if (refusal.code === "VALUE_TOO_LARGE") this.#post({ type: "error", id: frame.id, error: toRpcError(refusal) });
    // A caller that does not read its answers would not read this error either.
    else this.#endNotReading();
  }

  #endNotReading(): void {
    if (this.ended) return;
    this.#deps.metrics.refused("not_reading");
    this.close("the caller does not read its answers");
  }

  /** Queues a frame on the stream for its size or for its call. Returns the error when it cannot be sent. */
  #post(frame: RpcFrame, wanted?: StreamClass): BlixardError | undefined {
    if (this.ended) return notApplied("UNREACHABLE", "the connection is closed");
    const bytes = encodeRpcFrame(frame);
    const streamClass = wanted ?? (bytes.length <= transportLimits.rpcPayloadUrgentBytesMax ? "urgent" : "normal");
    const bytesMax = frameBytesMaxOf(streamClass, this.#options);
    if (bytes.length > bytesMax) {
      return notApplied("VALUE_TOO_LARGE", `a call carries ${bytes.length} bytes; at most ${bytesMax} are allowed`);
    }
    const queued = this.#outbound.get(streamClass)?.length ?? 0;
    const { rpcQueueFramesMax, rpcQueueBytesMax } = transportLimits;
    if (queued >= rpcQueueFramesMax || this.#outboundBytes + bytes.length > rpcQueueBytesMax) {
      return overloaded("the queue to this node is full");
    }
    if (!this.#hasGreeted) this.#greet(streamClass);
    this.#enqueue(streamClass, { bytes });
    return undefined;
  }

  /** Says what this side can read, on the stream of what it sends first. */
  #greet(streamClass: StreamClass): void {
    this.#hasGreeted = true;
    const id = rpcCapability.frameDictionary | rpcCapability.batches;
    this.#enqueue(streamClass, { bytes: encodeRpcFrame({ type: "pong", id }) });
  }

  /** Queues an item of a stream without a check: each call has one at a time, and the number of calls is bounded. */
  #enqueue(streamClass: StreamClass, frame: QueuedFrame): void {
    this.#outbound.get(streamClass)?.push(frame);
    this.#outboundBytes += frame.bytes.length;
    this.#link.wake(streamClass);
  }

  /** The next frame, and those behind it that fit into the same payload. */
  #next(streamClass: StreamClass): Uint8Array | undefined {
    const queue = this.#outbound.get(streamClass) ?? [];
    const first = this.#take(queue);
    if (first === undefined || !this.#otherTakesBatches) return first;
    const frames = [first];
    let bytes = first.length;
    for (let next = queue[0]; next !== undefined && frames.length < rpcBatchFramesMax; next = queue[0]) {
      bytes += next.bytes.length;
      if (bytes > transportLimits.rpcPayloadUrgentBytesMax) break;
      frames.push(this.#take(queue) ?? next.bytes);
    }
    return frames.length === 1 ? first : encodeRpcBatch(frames);
  }

  #take(queue: QueuedFrame[]): Uint8Array | undefined {
    const frame = queue.shift();
    if (frame === undefined) return undefined;
    this.#outboundBytes -= frame.bytes.length;
    frame.taken?.();
    return frame.bytes;
  }

  #onCallsChanged(): void {
    if (this.#streams.size > 0) this.#armHeartbeat();
    this.#armIdle();
  }

  #armHeartbeat(): void {
    if (this.#heartbeat !== undefined || this.ended) return;
    this.#heard = true;
    this.#silence = new Silence(this.#deps.clock, this.#options.heartbeatMs);
    this.#setHeartbeat();
  }

  #setHeartbeat(): void {
    const { clock } = this.#deps;
    this.#heartbeat = clock.setTimer(untilNextMs(clock, this.#options.heartbeatMs), () => this.#tickHeartbeat());
  }

  #tickHeartbeat(): void {
    this.#heartbeat = undefined;
    if (this.ended || (this.#calls.size === 0 && this.#streams.size === 0)) return;
    const missed = this.#silence?.tick(this.#heard) ?? 0;
    this.#heard = false;
    if (missed >= transportLimits.rpcDeadAfterMissed) {
      this.close(`nothing was heard for ${missed} heartbeats`);
      return;
    }
    this.#post({ type: "ping", id: 0 });
    this.#setHeartbeat();
  }

  #armIdle(): void {
    const open = this.#calls.size > 0 || this.#served.size > 0 || this.#streams.size > 0;
    this.#deps.onCalls(this, open);
    if (open && this.#idle === undefined) return;
    this.#idle?.cancel();
    this.#idle = undefined;
    if (this.ended || open) return;
    this.#idle = this.#deps.clock.setTimer(this.#options.idleCloseMs, () => this.close("idle"));
  }

  #onEnd(end: LinkEnd): void {
    if (end.refusal !== undefined) this.#deps.metrics.refused(end.refusal);
    this.#heartbeat?.cancel();
    this.#idle?.cancel();
    const error = new BlixardError("UNREACHABLE", `the connection broke: ${end.reason}`, { outcome: "unknown" });
    for (const call of [...this.#calls.values()]) call.reject(error);
    const cancelled = new BlixardError("CANCELLED", "the caller's connection broke");
    for (const { signal, timer } of this.#served.values()) {
      timer.cancel();
      signal.abort(cancelled);
    }
    this.#streams.close(error, cancelled);
    this.#deps.onEnd(this);
  }
}

function tooLate(method: string, timeoutMs: number): BlixardError {
  return new BlixardError("DEADLINE_EXCEEDED", `${method} took longer than ${timeoutMs} ms`, { outcome: "unknown" });
}

function overloaded(message: string): BlixardError {
  return notApplied("OVERLOADED", message, { hint: "Try again in a moment." });
}
