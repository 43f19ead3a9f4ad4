/**
 * The stream calls of one RPC connection, those that this side opened and those that it serves. All their frames
 * travel in order on the stream of large frames, where they do not hold up small unary calls.
 *
 *     caller: opening -> open -> closed          callee: asked -> accepted -> closed
 *
 * The deadline of a call is for its opening: accepted, it lives until one side ends it, or the connection breaks, which the
 * heartbeats of the connection notice.
 */
import {
  BlixardError,
  type Clock,
  isBlixardError,
  notApplied,
  offAbort,
  onAbort,
  toBlixardError,
} from "@blixard/common";
import { type RpcFrame, type RpcSide, toRpcError } from "@blixard/protocol";
import { transportLimits } from "../transport-limits.ts";
import { RpcStreamEnd, type RpcStreamPort } from "./rpc-stream-end.ts";

export type RpcStreamFrame = Extract<RpcFrame, { type: "open" | "item" | "end" | "credit" }>;

export interface RpcStreamsDeps {
  readonly clock: Clock;
  readonly nextId: () => number;
  /** Queues a frame on the stream of large frames. Returns the error when it cannot be sent. */
  readonly post: (frame: RpcFrame) => BlixardError | undefined;
  /** Queues the frame of an item whatever else waits; `taken` is called when it is on its way. */
  readonly postItem: (frame: RpcFrame, taken: () => void) => void;
  /** Answers a call. Resolves when the call is accepted, and rejects with the error that the caller gets. */
  readonly serve: (
    call: { readonly method: string; readonly payload: Uint8Array; readonly input: AsyncIterable<Uint8Array> },
    signal: AbortSignal,
  ) => Promise<AsyncIterable<Uint8Array>>;
  /** A call of this side was opened (1) or closed (-1). */
  readonly onChange: (side: RpcSide, change: 1 | -1) => void;
  /** Called when the queue is full because the other side does not read. */
  readonly onNotReading: () => void;
}

export interface StreamRequest {
  readonly method: string;
  readonly payload: Uint8Array;
  readonly timeoutMs: number;
}

export interface StreamOptions {
  /** Ends the call when it aborts before it was accepted. */
  readonly opening: AbortSignal;
  /** Ends the call when it aborts after that. */
  readonly signal?: AbortSignal | undefined;
  readonly input?: AsyncIterable<Uint8Array> | undefined;
}

interface OpenedStream {
  readonly end: RpcStreamEnd;
  accepted(): void;
  /** Ends the call as the other side said, or as the connection broke. */
  close(error: BlixardError | undefined): void;
}

interface ServedStream {
  readonly end: RpcStreamEnd;
  cancel(reason: BlixardError): void;
}

export class RpcStreams {
  readonly #deps: RpcStreamsDeps;
  readonly #opened = new Map<number, OpenedStream>();
  readonly #served = new Map<number, ServedStream>();

  constructor(deps: RpcStreamsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#opened.size + this.#served.size;
  }

  serves(id: number): boolean {
    return this.#served.has(id);
  }

  /** Resolves with the incoming items when the other side has accepted the call. */
  open(request: StreamRequest, options: StreamOptions): Promise<AsyncIterable<Uint8Array>> {
    if (this.#opened.size >= transportLimits.rpcStreamsPerConnectionMax) {
      return Promise.reject(overloaded("too many streams are open to this node"));
    }
    const id = this.#deps.nextId();
    return new Promise((resolve, reject) => {
      const windowBytes = transportLimits.rpcStreamWindowBytes;
      let followed: AbortSignal | undefined;
      const follow = (signal: AbortSignal | undefined) => {
        offAbort(followed, abort);
        followed = signal;
        onAbort(signal, abort);
        if (signal?.aborted) abort();
      };
      const close = (error: BlixardError | undefined, discard: boolean): boolean => {
        if (!this.#opened.delete(id)) return false;
        follow(undefined);
        if (error === undefined) end.finish();
        else end.fail(error, { discard });
        end.stop();
        if (error === undefined) resolve(end.incoming);
        else reject(error);
        this.#deps.onChange("caller", -1);
        return true;
      };
      const cancel = (reason: BlixardError) => {
        if (close(reason, true)) this.#post({ type: "cancel", id });
      };
      const abort = () => cancel(toBlixardError(followed?.reason, "CANCELLED", request.method));
      const abandoned = () => cancel(new BlixardError("CANCELLED", "nobody reads the stream any more"));
      const end = new RpcStreamEnd(this.#port(id, "caller", abandoned), { windowBytes, creditBytes: 0 });
      const accepted = () => {
        follow(options.signal);
        resolve(end.incoming);
        if (options.input !== undefined) this.#sendInput(id, end, options.input).catch(cancel);
      };
      const timeoutMs = Math.ceil(request.timeoutMs);
      const refusal = this.#deps.post({ ...request, type: "open", id, timeoutMs, creditBytes: windowBytes });
      if (refusal !== undefined) return reject(refusal);
      this.#opened.set(id, { end, accepted: once(accepted), close: (error) => close(error, false) });
      if (options.input === undefined) this.#post({ type: "end", id, by: "caller" });
      this.#deps.onChange("caller", 1);
      follow(options.opening);
    });
  }

  /** @throws CREDIT_OVERRUN, FRAME_CORRUPT, which end the connection */
  onFrame(frame: RpcStreamFrame): void {
    const { id } = frame;
    // The other side may still send frames of a call until it learns that the call is over.
    switch (frame.type) {
      case "open":
        void this.#serve(frame);
        return;
      case "item":
        this.#endOf(frame)?.take(frame.payload);
        return;
      case "credit":
        this.#endOf(frame)?.grant(frame.bytes);
        if (frame.by === "callee") this.#opened.get(id)?.accepted();
        return;
      case "end":
        if (frame.by === "caller") this.#served.get(id)?.end.finish();
        else this.#opened.get(id)?.close(undefined);
        return;
      default:
        frame satisfies never;
    }
  }

  onError(id: number, error: BlixardError): void {
    this.#opened.get(id)?.close(error);
  }

  onCancel(id: number, reason: BlixardError): void {
    this.#served.get(id)?.cancel(reason);
  }

  /** The connection is gone. */
  close(error: BlixardError, cancelled: BlixardError): void {
    for (const opened of [...this.#opened.values()]) opened.close(error);
    for (const served of [...this.#served.values()]) served.cancel(cancelled);
  }

  async #serve(request: Extract<RpcFrame, { type: "open" }>): Promise<void> {
    const { id, method, payload, creditBytes } = request;
    if (this.#served.size >= transportLimits.rpcStreamsServedPerConnectionMax) {
      const error = toRpcError(overloaded("too many streams are served for this node"));
      this.#post({ type: "error", id, error });
      return;
    }
    const controller = new AbortController();
    const end = new RpcStreamEnd(
      this.#port(id, "callee", () => {}),
      { windowBytes: 0, creditBytes },
    );
    const cancel = (reason: BlixardError) => {
      controller.abort(reason);
      end.fail(reason, { discard: true });
    };
    const timeoutMs = Math.min(request.timeoutMs, transportLimits.rpcTimeoutMsMax);
    const timer = this.#deps.clock.setTimer(timeoutMs, () =>
      cancel(new BlixardError("DEADLINE_EXCEEDED", `${method} was not accepted within ${timeoutMs} ms`)),
    );
    this.#served.set(id, { end, cancel });
    this.#deps.onChange("callee", 1);
    try {
      const output = await this.#deps.serve({ method, payload, input: end.incoming }, controller.signal);
      timer.cancel();
      if (!controller.signal.aborted) end.accept();
      await end.send(output);
      controller.signal.throwIfAborted();
      this.#post({ type: "end", id, by: "callee" });
    } catch (error) {
      this.#post({ type: "error", id, error: toRpcError(error) });
    } finally {
      timer.cancel();
      this.#served.delete(id);
      cancel(new BlixardError("CANCELLED", "the call is over"));
      this.#deps.onChange("callee", -1);
    }
  }

  async #sendInput(id: number, end: RpcStreamEnd, input: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      await end.send(input);
    } catch (error) {
      throw isBlixardError(error) ? error : toBlixardError(error, "INTERNAL", "the input of the stream");
    }
    if (this.#opened.get(id)?.end === end) this.#post({ type: "end", id, by: "caller" });
  }

  #endOf({ id, by }: Extract<RpcFrame, { type: "item" | "credit" }>): RpcStreamEnd | undefined {
    return (by === "caller" ? this.#served : this.#opened).get(id)?.end;
  }

  #port(id: number, by: RpcSide, abandoned: () => void): RpcStreamPort {
    return {
      item: (payload, taken) => this.#deps.postItem({ type: "item", id, by, payload }, taken),
      credit: (bytes) => this.#post({ type: "credit", id, by, bytes }),
      abandoned,
    };
  }

  #post(frame: RpcFrame): void {
    const refusal = this.#deps.post(frame);
    if (refusal?.code === "OVERLOADED") this.#deps.onNotReading();
  }
}

function once(run: () => void): () => void {
  let ran = false;
  return () => {
    if (ran) return;
    ran = true;
    run();
  };
}

function overloaded(message: string): BlixardError {
  return notApplied("OVERLOADED", message, { hint: "Try again in a moment." });
}
