/**
 * Frames over one connection. Each side writes on streams that it opened, one for each class, and reads on those that
 * the other side opened. A stream has one write in flight, and all frames that wait meanwhile go into the next one: a
 * write costs far more than a short frame does. So an idle link sends at the end of the turn, and a busy one batches
 * without a timer. Only closing the connection ends reads and writes that hang because the peer is dead or does not read.
 */
import { type BlixardError, concatBytes, errorCodeOf, messageOf } from "@blixard/common";
import type { Refusal, TransportMetrics } from "../metrics.ts";
import { transportLimits } from "../transport-limits.ts";
import type { ByteStream, Connection } from "../transport-types.ts";
import { encodeFrame, type Frame, type FrameOptions, FrameReader } from "./frame.ts";
import { FrameCompressor } from "./frame-compression.ts";
import type { ReadPace } from "./read-pace.ts";
import { type StreamClass, streamClasses } from "./stream-class.ts";

/** Why a link ended by itself. */
export interface LinkEnd {
  readonly reason: string;
  /** The reason under which it is counted that the other side broke the protocol, if it did. */
  readonly refusal: Refusal | undefined;
}

export interface FrameLinkHandlers {
  /**
   * Whether the limits for strangers apply to the other side. Called for each frame and each new stream, because a
   * stranger may become a member. Default: they never apply.
   */
  readonly isStranger?: () => boolean;
  /** How fast the other side is read now. Called before each read. Default: as fast as it sends. */
  readonly pace?: () => ReadPace | undefined;
  /** The next payload to write on the stream of the class; undefined when there is none now. */
  readonly next: (streamClass: StreamClass) => Uint8Array | undefined;
  /** May throw FRAME_CORRUPT or CREDIT_OVERRUN, which ends the link, and UNSUPPORTED_VERSION, which only a hello does. */
  readonly onFrame: (frame: Frame) => void;
  /** Told of what a later release has sent and `onFrame` could not read: it is counted and left out. */
  readonly onUnsupported?: (error: BlixardError) => void;
  /** Called once, when the link ended without `close`. */
  readonly onEnd: (end: LinkEnd) => void;
}

/** Small reads keep heartbeats quick while bulk arrives (measured over Iroh). */
const readBytesMax: Readonly<Record<StreamClass, number>> = { urgent: 16_384, normal: 65_536, bulk: 16_384 };

export class FrameLink {
  readonly connection: Connection;
  readonly #options: FrameOptions;
  /** Of frames that come in. */
  readonly #received: FrameOptions;
  readonly #handlers: FrameLinkHandlers;
  readonly #metrics: TransportMetrics;
  readonly #compressor: FrameCompressor | undefined;
  readonly #streams = new Map<StreamClass, ByteStream>();
  readonly #writing = new Set<StreamClass>();
  #hello: Uint8Array | undefined;
  #incomingStreams = 0;
  #ended = false;

  constructor(connection: Connection, options: FrameOptions, handlers: FrameLinkHandlers, metrics: TransportMetrics) {
    this.connection = connection;
    this.#options = options;
    this.#received = receivedOptions(options, handlers.isStranger);
    this.#handlers = handlers;
    this.#metrics = metrics;
    // Beside Iroh, an adapter may have technologies over which bytes are cheap.
    const compress = options.compress && connection.transport !== "grpc";
    if (compress) this.#compressor = new FrameCompressor((result) => metrics.compressed(connection.lane, result));
    void this.#acceptStreams();
    void connection.closed.then((reason) => this.#end(reason));
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The other side has said that it knows the dictionary of compressed frames. */
  useDictionary(): void {
    if (this.#compressor !== undefined) this.#compressor.withDictionary = true;
  }

  /** Sends a hello frame on the urgent stream, before anything else there. */
  sendHello(payload: Uint8Array): void {
    this.#hello = payload;
    this.wake("urgent");
  }

  /** Says that `next` has payloads for the class. Those that are added until the end of this turn share a write. */
  wake(streamClass: StreamClass): void {
    if (this.#ended || this.#writing.has(streamClass)) return;
    this.#writing.add(streamClass);
    const { connection } = this;
    const write = () => void this.#writeAll(streamClass);
    if (connection.afterTurn === undefined) queueMicrotask(write);
    else connection.afterTurn(write);
  }

  /** Ends the link and its connection; `onEnd` is not called. */
  close(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.connection.close(reason);
  }

  async #writeAll(streamClass: StreamClass): Promise<void> {
    try {
      for (let bytes = this.#nextBytes(streamClass); bytes !== undefined; bytes = this.#nextBytes(streamClass)) {
        const stream = this.#streams.get(streamClass) ?? (await this.#open(streamClass));
        await stream.write(bytes);
      }
    } catch (error) {
      this.#end(messageOf(error));
    } finally {
      this.#writing.delete(streamClass);
    }
  }

  /** The frames that wait, behind each other, as many as one write takes. */
  #nextBytes(streamClass: StreamClass): Uint8Array | undefined {
    const frames: Uint8Array[] = [];
    let length = 0;
    while (length < transportLimits.gatherWriteBytesMax) {
      const frame = this.#nextFrame(streamClass);
      if (frame === undefined) break;
      const bytes = encodeFrame(frame, this.#options, this.#compressor);
      this.#metrics.frameSent(this.connection.lane, frame.payload.length, bytes.length);
      frames.push(bytes);
      length += bytes.length;
    }
    return frames.length > 1 ? concatBytes(frames) : frames[0];
  }

  #nextFrame(streamClass: StreamClass): Frame | undefined {
    if (this.#ended) return undefined;
    if (streamClass === "urgent" && this.#hello !== undefined) {
      const payload = this.#hello;
      this.#hello = undefined;
      return { streamClass, hello: true, payload };
    }
    const payload = this.#handlers.next(streamClass);
    return payload === undefined ? undefined : { streamClass, hello: false, payload };
  }

  async #open(streamClass: StreamClass): Promise<ByteStream> {
    const priority = streamClasses.length - streamClasses.indexOf(streamClass);
    const stream = await this.connection.openStream({ priority });
    this.#streams.set(streamClass, stream);
    return stream;
  }

  async #acceptStreams(): Promise<void> {
    try {
      for (let stream = await this.connection.acceptStream(); stream; stream = await this.connection.acceptStream()) {
        this.#incomingStreams++;
        const { rpcStrangerStreamsMax, incomingStreamsMax } = transportLimits;
        const streamsMax = this.#handlers.isStranger?.() === true ? rpcStrangerStreamsMax : incomingStreamsMax;
        if (this.#incomingStreams > streamsMax) {
          this.#end("the peer opened too many streams", "too_many_streams");
          return;
        }
        void this.#readAll(stream);
      }
    } catch (error) {
      this.#end(messageOf(error));
    }
  }

  async #readAll(stream: ByteStream): Promise<void> {
    const reader = new FrameReader(this.#received);
    let streamClass: StreamClass = "urgent";
    try {
      for (;;) {
        const pace = this.#handlers.pace?.();
        const isSlow = pace?.isSlow === true;
        if (isSlow) await pace.rest();
        const bytes = await stream.read(isSlow ? transportLimits.slowReadBytesMax : readBytesMax[streamClass]);
        if (bytes === undefined || this.#ended) return;
        this.#metrics.bytesReceived(this.connection.lane, bytes.length);
        for (const frame of reader.push(bytes)) {
          streamClass = frame.streamClass;
          this.#metrics.frameReceived(this.connection.lane, frame.payload.length);
          if (!this.#ended) this.#deliver(frame);
        }
      }
    } catch (error) {
      this.#end(messageOf(error), refusalOf(error));
    }
  }

  /** The streams of a connection are whole whatever their frames hold; only a greeting says whether the sides go together. */
  #deliver(frame: Frame): void {
    try {
      this.#handlers.onFrame(frame);
    } catch (error) {
      if (frame.hello || errorCodeOf(error) !== "UNSUPPORTED_VERSION") throw error;
      this.#metrics.refused("unsupported_version");
      this.#handlers.onUnsupported?.(error as BlixardError);
    }
  }

  #end(reason: string, refusal?: Refusal): void {
    if (this.#ended) return;
    this.close(reason);
    this.#handlers.onEnd({ reason, refusal });
  }
}

function receivedOptions(options: FrameOptions, isStranger: FrameLinkHandlers["isStranger"]): FrameOptions {
  if (isStranger === undefined) return options;
  const { compress, frameBytesMax } = options;
  const strangerBytesMax = Math.min(transportLimits.rpcStrangerFrameBytesMax, frameBytesMax);
  return {
    compress,
    get frameBytesMax() {
      return isStranger() ? strangerBytesMax : frameBytesMax;
    },
  };
}

/** The reason under which a fault of the peer is counted; undefined when the peer broke no rule. */
export function refusalOf(error: unknown): Refusal | undefined {
  switch (errorCodeOf(error)) {
    case "FRAME_CORRUPT":
      return "bad_frame";
    case "FRAME_TOO_LARGE":
    case "VALUE_TOO_LARGE":
      return "frame_too_large";
    case "CREDIT_OVERRUN":
      return "credit_overrun";
    case "UNSUPPORTED_VERSION":
      return "unsupported_version";
    default:
      return undefined;
  }
}
