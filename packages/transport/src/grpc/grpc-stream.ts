/** A byte stream of the transport over the messages of one bidirectional gRPC call. */
import { BlixardError } from "@blixard/common";
import type { ByteStream } from "../transport-types.ts";
import type { CallStream, Chunk } from "./node-proto.ts";

/** Bytes of one message. The runtime buffers 16 messages for a stream that nobody reads: half a mebibyte. */
export const chunkBytesMax = 32 * 1024;

export interface GrpcStreamOptions {
  /** Ends the call at once. */
  readonly abort: () => void;
  /** Called once, when the stream is finished both ways or failed. */
  readonly onEnd: () => void;
}

/**
 * In gRPC the end of the server's direction is the end of the whole call, so each direction ends with a flag in its last
 * chunk, and the call when both have.
 */
export class GrpcStream implements ByteStream {
  readonly #call: CallStream;
  readonly #options: GrpcStreamOptions;
  #rest: Uint8Array | undefined;
  #failure: string | undefined;
  #readAll = false;
  #finished = false;
  #wakeReader: (() => void) | undefined;
  #failWriter: ((error: BlixardError) => void) | undefined;

  constructor(call: CallStream, options: GrpcStreamOptions) {
    this.#call = call;
    this.#options = options;
    call.on("readable", () => this.#wakeReader?.());
    call.on("error", (error: Error) => this.fail(error.message));
    call.on("cancelled", () => this.fail("the call was cancelled"));
    call.on("end", () => {
      if (!this.#readAll) this.fail("the call ended");
    });
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += chunkBytesMax) {
      await this.#send({ data: bytes.subarray(at, at + chunkBytesMax) });
    }
  }

  async read(bytesMax: number): Promise<Uint8Array | undefined> {
    for (;;) {
      const rest = this.#rest;
      if (rest !== undefined) {
        this.#rest = rest.length > bytesMax ? rest.subarray(bytesMax) : undefined;
        return rest.subarray(0, bytesMax);
      }
      if (this.#readAll) return undefined;
      if (this.#failure !== undefined) throw closedError(this.#failure);
      const chunk = this.#call.read() as Chunk | null;
      if (chunk === null) await this.#untilReadable();
      else this.#take(chunk);
    }
  }

  async finish(): Promise<void> {
    if (this.#finished) return;
    this.#finished = true;
    await this.#send({ end: true });
    this.#endIfDone();
  }

  /** Ends both directions: what waits fails with the reason. */
  fail(reason: string): void {
    if (this.#failure !== undefined || (this.#readAll && this.#finished)) return;
    this.#failure = reason;
    this.#options.onEnd();
    this.#failWriter?.(closedError(reason));
    this.#wakeReader?.();
    this.#options.abort();
  }

  #take(chunk: Chunk): void {
    if (chunk.data !== undefined && chunk.data.length > 0) this.#rest = chunk.data;
    if (chunk.end !== true) return;
    this.#readAll = true;
    this.#endIfDone();
  }

  #endIfDone(): void {
    if (!this.#readAll || !this.#finished) return;
    this.#options.onEnd();
    this.#call.end();
    // The other side's status is read only when everything before it was.
    this.#call.resume();
  }

  #untilReadable(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeReader = () => {
        this.#wakeReader = undefined;
        resolve();
      };
    });
  }

  #send(chunk: Chunk): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(closedError(this.#failure));
    return new Promise((resolve, reject) => {
      this.#failWriter = reject;
      this.#call.write(chunk, (error) => {
        this.#failWriter = undefined;
        if (error) reject(closedError(error.message));
        else resolve();
      });
    });
  }
}

export function closedError(reason: string): BlixardError {
  return new BlixardError("UNREACHABLE", `the connection is closed: ${reason}`);
}
