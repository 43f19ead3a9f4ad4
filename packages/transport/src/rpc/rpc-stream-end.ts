/**
 * One end of a stream call. Incoming items wait here for their reader, outgoing ones wait for credit. Each side grants
 * the other a window in bytes and renews it as its reader takes items. So a slow reader holds up only its own call, and
 * the items that wait for it are bounded. Each end has at most one item in the queue of the connection, so that calls
 * take turns.
 */
import { BlixardError } from "@blixard/common";
import { rpcStreamCreditBytesMax, rpcStreamItemOverheadBytes } from "@blixard/protocol";
import { transportLimits } from "../transport-limits.ts";

export interface RpcStreamPort {
  /** Queues an item; `taken` is called when it is on its way. */
  item(payload: Uint8Array, taken: () => void): void;
  credit(bytes: number): void;
  /** Called when the reader of this side stops. */
  abandoned(): void;
}

export class RpcStreamEnd {
  /** What the other side sends. One reader, which waits for one item at a time. */
  readonly incoming: AsyncIterableIterator<Uint8Array> = {
    next: () => this.#next(),
    return: async () => {
      this.#port.abandoned();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]: () => this.incoming,
  };
  readonly #port: RpcStreamPort;
  #waiting: Uint8Array[] = [];
  /** What the other side may still send, and what its reader here has taken since credit was given last. */
  #windowBytes: number;
  #takenBytes = 0;
  #creditBytes: number;
  #remoteEnded = false;
  #over: { readonly error: BlixardError | undefined } | undefined;
  #stopped = false;
  #onArrival: (() => void) | undefined;
  #onCredit: (() => void) | undefined;
  #onStop: (() => void) | undefined;

  /** `windowBytes` was given to the other side already, `creditBytes` to this one. */
  constructor(port: RpcStreamPort, credits: { readonly windowBytes: number; readonly creditBytes: number }) {
    this.#port = port;
    this.#windowBytes = credits.windowBytes;
    this.#creditBytes = credits.creditBytes;
  }

  /** Grants the first credit, unless this end expects no items. */
  accept(): void {
    const bytes = this.#remoteEnded || this.#over !== undefined ? 0 : transportLimits.rpcStreamWindowBytes;
    this.#windowBytes += bytes;
    this.#port.credit(bytes);
  }

  /** @throws CREDIT_OVERRUN, FRAME_CORRUPT */
  take(payload: Uint8Array): void {
    if (this.#remoteEnded) throw new BlixardError("FRAME_CORRUPT", "an item came after the end of its stream");
    const cost = costOf(payload);
    if (cost > this.#windowBytes) throw new BlixardError("CREDIT_OVERRUN", "a stream brought more than it may");
    this.#windowBytes -= cost;
    if (this.#over !== undefined) return;
    this.#waiting.push(payload);
    this.#onArrival?.();
  }

  /** The other side has sent its last item. */
  finish(): void {
    this.#remoteEnded = true;
    this.#end(undefined);
  }

  /** Ends both directions. The reader gets `error` after the earlier items, or at once when those are of no use. */
  fail(error: BlixardError, options: { readonly discard: boolean }): void {
    if (options.discard) this.#waiting = [];
    this.#end(error);
    this.stop();
  }

  /** Stops sending. */
  stop(): void {
    this.#stopped = true;
    this.#onCredit?.();
    this.#onStop?.();
  }

  /** @throws FRAME_CORRUPT when the other side gives more credit than anyone may have */
  grant(bytes: number): void {
    this.#creditBytes += bytes;
    if (this.#creditBytes > rpcStreamCreditBytesMax) {
      throw new BlixardError("FRAME_CORRUPT", "a stream was given too much credit");
    }
    this.#onCredit?.();
  }

  /** Resolves when all items are on their way, or nothing more is to be sent. @throws what `items` throws */
  async send(items: AsyncIterable<Uint8Array>): Promise<void> {
    const iterator = items[Symbol.asyncIterator]();
    try {
      while (!this.#stopped) {
        const step = await this.#unlessStopped<IteratorResult<Uint8Array>>((resolve, reject) => {
          iterator.next().then(resolve, reject);
        });
        if (step === undefined || step.done === true) return;
        await this.#sendOne(step.value);
      }
    } finally {
      // An iterator in the middle of a step ends after that step; this does not wait for it.
      iterator.return?.().catch(() => {});
    }
  }

  async #sendOne(payload: Uint8Array): Promise<void> {
    const { rpcStreamItemBytesMax } = transportLimits;
    if (payload.length > rpcStreamItemBytesMax) {
      throw new BlixardError(
        "VALUE_TOO_LARGE",
        `an item has ${payload.length} bytes; at most ${rpcStreamItemBytesMax}`,
      );
    }
    const cost = costOf(payload);
    while (!this.#stopped && this.#creditBytes < cost) {
      await new Promise<void>((resolve) => {
        this.#onCredit = resolve;
      });
    }
    if (this.#stopped) return;
    this.#creditBytes -= cost;
    await this.#unlessStopped<void>((resolve) => this.#port.item(payload, resolve));
  }

  /** Undefined when nothing more is to be sent. A race with one lasting promise would keep something for each item. */
  #unlessStopped<T>(
    work: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
  ): Promise<T | undefined> {
    return new Promise<T | undefined>((resolve, reject) => {
      this.#onStop = () => resolve(undefined);
      work(resolve, reject);
    });
  }

  async #next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      const value = this.#waiting.shift();
      if (value !== undefined) {
        this.#giveAgain(costOf(value));
        return { done: false, value };
      }
      if (this.#over?.error !== undefined) throw this.#over.error;
      if (this.#over !== undefined) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#onArrival = resolve;
      });
    }
  }

  #giveAgain(bytes: number): void {
    this.#takenBytes += bytes;
    if (this.#over !== undefined || this.#takenBytes < transportLimits.rpcStreamCreditStepBytes) return;
    this.#windowBytes += this.#takenBytes;
    this.#port.credit(this.#takenBytes);
    this.#takenBytes = 0;
  }

  #end(error: BlixardError | undefined): void {
    this.#over ??= { error };
    this.#onArrival?.();
  }
}

function costOf(payload: Uint8Array): number {
  return payload.length + rpcStreamItemOverheadBytes;
}
