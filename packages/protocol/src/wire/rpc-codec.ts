/**
 * Frames of the RPC lane: calls, many at once on one connection, told apart by an id that the caller chose.
 * `type, id, ...` by position; the payload of a call is opaque here.
 *
 *     unary call    request ->            <- response | error
 *     stream call   open ->               <- credit (which accepts it) | error
 *                   item* end? credit* -> <- item* credit* (end | error)
 *                   cancel ->
 *
 * Small frames may travel together, to a side that has said that it takes them so (`rpcCapability`): `batch, count`, then
 * each frame with its length before it.
 *
 * An item may be sent only under credit that the other side gave: bytes of payloads, and `rpcStreamItemOverheadBytes` for each
 * item. The caller gives its first credit in `open`, the callee with its first `credit`.
 */
import {
  assertAtMost,
  assertBelow,
  BlixardError,
  type ErrorOutcome,
  isBlixardError,
  knownCauseOf,
  knownErrorCode,
  messageOf,
} from "@blixard/common";
import { decodeValue, encodeValue } from "./wire-codec.ts";
import { BinaryReader, BinaryWriter, corrupt, unsupported } from "./wire-codec-binary.ts";

/** An error as it crosses the wire. */
export interface RpcError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly outcome?: ErrorOutcome;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Who sends a frame that goes both ways: ids of the two sides' calls may be equal. */
export type RpcSide = "caller" | "callee";

export type RpcFrame =
  | {
      readonly type: "request";
      readonly id: number;
      readonly method: string;
      /** Milliseconds from now on; a duration, because the clocks of two machines differ. */
      readonly timeoutMs: number;
      readonly payload: Uint8Array;
    }
  | { readonly type: "response"; readonly id: number; readonly payload: Uint8Array }
  | { readonly type: "error"; readonly id: number; readonly error: RpcError }
  /** The caller no longer waits. */
  | { readonly type: "cancel"; readonly id: number }
  | {
      readonly type: "open";
      readonly id: number;
      readonly method: string;
      /** Milliseconds from now on in which the call must be accepted; it may live longer. */
      readonly timeoutMs: number;
      readonly creditBytes: number;
      readonly payload: Uint8Array;
    }
  | { readonly type: "item"; readonly id: number; readonly by: RpcSide; readonly payload: Uint8Array }
  /** The side sends no more items. That of the callee ends the call. */
  | { readonly type: "end"; readonly id: number; readonly by: RpcSide }
  | { readonly type: "credit"; readonly id: number; readonly by: RpcSide; readonly bytes: number }
  | { readonly type: "ping"; readonly id: number }
  | { readonly type: "pong"; readonly id: number };

/** Counted against the credit for each item beside its payload. */
export const rpcStreamItemOverheadBytes = 64;
/** Most credit that one side may hold at a time. */
export const rpcStreamCreditBytesMax = 16 * 1024 * 1024;

const methodBytesMax = 128;
/** Most bytes that an RPC frame has beside its payload: its tag, the method, and three integers. */
export const rpcFrameOverheadBytes = 256;
const errorBytesMax = 32 * 1024;
const messageLengthMax = 4 * 1024;
const messageBytesMax = 3 * messageLengthMax;
assertAtMost({ "2 * messageBytesMax": 2 * messageBytesMax }, { errorBytesMax }, "an error has a message and a hint");
assertBelow(
  { methodBytesMax },
  { rpcFrameOverheadBytes },
  "the name of a method is a part of what stands beside a payload",
);
const tag = { request: 1, response: 2, error: 3, cancel: 4, ping: 5, pong: 6, open: 7 } as const;
/** One more when the callee sends it. */
const sidedTag = { item: 8, end: 10, credit: 12 } as const;
const batchTag = 14;
export const rpcBatchFramesMax = 1_024;

/**
 * What a side of a connection can read beyond the frames of the first release. Each says it once, as the id of a `pong` that
 * nobody asked for, which all releases pass over. A bit never gets a second meaning; unknown bits are ignored.
 */
export const rpcCapability = {
  /** Payloads deflated with the dictionary of the transport. */
  frameDictionary: 1,
  batches: 2,
} as const;

/** One after the other: no frame is written inside of another. */
const writer = new BinaryWriter();

export function encodeRpcFrame(frame: RpcFrame): Uint8Array {
  writer.clear();
  writer.byte("by" in frame ? sidedTag[frame.type] + (frame.by === "caller" ? 0 : 1) : tag[frame.type]);
  writer.integer(frame.id);
  switch (frame.type) {
    case "request":
      writer.text(frame.method);
      writer.integer(frame.timeoutMs);
      writer.raw(frame.payload);
      break;
    case "response":
      writer.raw(frame.payload);
      break;
    case "error":
      writer.raw(encodeError(frame.error));
      break;
    case "open":
      writer.text(frame.method);
      writer.integer(frame.timeoutMs);
      writer.integer(frame.creditBytes);
      writer.raw(frame.payload);
      break;
    case "item":
      writer.raw(frame.payload);
      break;
    case "credit":
      writer.integer(frame.bytes);
      break;
    case "cancel":
    case "end":
    case "ping":
    case "pong":
      break;
    default:
      frame satisfies never;
  }
  return writer.finish();
}

/** Several frames as one payload. */
export function encodeRpcBatch(frames: readonly Uint8Array[]): Uint8Array {
  writer.clear();
  writer.byte(batchTag);
  writer.integer(frames.length);
  for (const frame of frames) writer.bytes(frame);
  return writer.finish();
}

/** The frames in a payload, which may be one: views of its bytes. @throws FRAME_CORRUPT */
export function rpcFramesIn(payload: Uint8Array): readonly Uint8Array[] {
  if (payload[0] !== batchTag) return [payload];
  const reader = new BinaryReader(payload);
  reader.byte("frame type");
  const count = reader.count("batch");
  if (count > rpcBatchFramesMax) throw corrupt(`a batch of ${count} frames`);
  const frames: Uint8Array[] = [];
  for (let item = 0; item < count; item++) {
    const frame = reader.view("frame of a batch");
    if (frame[0] === batchTag) throw corrupt("a batch inside of a batch");
    frames.push(frame);
  }
  reader.end("batch");
  return frames;
}

/** @throws FRAME_CORRUPT, and UNSUPPORTED_VERSION for a frame of a later release */
export function decodeRpcFrame(bytes: Uint8Array): RpcFrame {
  const reader = new BinaryReader(bytes);
  const type = reader.byte("frame type");
  const id = reader.integer("call id");
  switch (type) {
    case tag.request: {
      const method = reader.text("method", methodBytesMax);
      const timeoutMs = reader.integer("timeout");
      return { type: "request", id, method, timeoutMs, payload: reader.rest() };
    }
    case tag.response:
      return { type: "response", id, payload: reader.rest() };
    case tag.error:
      return { type: "error", id, error: decodeError(reader.rest()) };
    case tag.cancel:
    case tag.ping:
    case tag.pong:
      reader.end("frame");
      return { type: type === tag.cancel ? "cancel" : type === tag.ping ? "ping" : "pong", id };
    case tag.open: {
      const method = reader.text("method", methodBytesMax);
      const timeoutMs = reader.integer("timeout");
      const creditBytes = decodeCredit(reader);
      return { type: "open", id, method, timeoutMs, creditBytes, payload: reader.rest() };
    }
    default:
      return decodeSidedFrame(type, id, reader);
  }
}

function decodeSidedFrame(type: number, id: number, reader: BinaryReader): RpcFrame {
  const by: RpcSide = type % 2 === 0 ? "caller" : "callee";
  switch (type - (type % 2)) {
    case sidedTag.item:
      return { type: "item", id, by, payload: reader.rest() };
    case sidedTag.end:
      reader.end("frame");
      return { type: "end", id, by };
    case sidedTag.credit: {
      const bytes = decodeCredit(reader);
      reader.end("frame");
      return { type: "credit", id, by, bytes };
    }
    default:
      if (type === 0) throw corrupt("frame type 0");
      throw unsupported(`frame type ${type}`);
  }
}

function decodeCredit(reader: BinaryReader): number {
  const bytes = reader.integer("credit");
  if (bytes > rpcStreamCreditBytesMax) throw corrupt(`a credit of ${bytes} bytes`);
  return bytes;
}

/**
 * What of a thrown value may cross the wire: all of a BlixardError, the meaning of an error of the system, only the message
 * of anything else.
 */
export function toRpcError(thrown: unknown): RpcError {
  const error = knownCauseOf(thrown, "the call") ?? thrown;
  if (!isBlixardError(error)) return { code: "INTERNAL", message: messageOf(error) };
  return {
    code: error.code,
    message: error.message,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.outcome === undefined ? {} : { outcome: error.outcome }),
    ...(error.details === undefined ? {} : { details: error.details }),
  };
}

export function fromRpcError(error: RpcError): BlixardError {
  const { code, message, ...options } = error;
  const known = knownErrorCode(code);
  if (known !== undefined) return new BlixardError(known, message, options);
  // A later release has codes that this one does not know. The text still tells a person.
  return new BlixardError("INTERNAL", `${message} [${code}]`, options);
}

function encodeError(error: RpcError): Uint8Array {
  const message = error.message.slice(0, messageLengthMax);
  const hint = error.hint?.slice(0, messageLengthMax) ?? null;
  const head = [error.code, message, hint, error.outcome ?? null];
  try {
    return encodeValue([...head, error.details ?? null], { bytesMax: errorBytesMax });
  } catch {
    // The details are too large or not plain: the error itself must reach the caller all the same.
    return encodeValue([...head, null], { bytesMax: errorBytesMax });
  }
}

function decodeError(bytes: Uint8Array): RpcError {
  const value = decodeValue(bytes, { bytesMax: errorBytesMax });
  if (!Array.isArray(value) || value.length < 5) throw corrupt("an error is not in its form");
  const [code, message, hint, outcome, details]: unknown[] = value;
  if (typeof code !== "string" || typeof message !== "string") throw corrupt("an error has no code");
  if (hint !== null && typeof hint !== "string") throw corrupt("a hint is not a text");
  if (outcome !== null && typeof outcome !== "string") throw corrupt("an outcome is not a text");
  if (details !== null && !isRecord(details)) throw corrupt("details are not an object");
  return {
    code,
    message,
    ...(hint === null ? {} : { hint }),
    // What a later release says beside these two leaves open what happened.
    ...(outcome === null ? {} : { outcome: outcome === "not_applied" ? outcome : "unknown" }),
    ...(details === null ? {} : { details }),
  };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}
