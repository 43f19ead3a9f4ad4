/**
 * Frames of the RPC lane: unary calls, many at once on one connection, told apart by an id that the caller chose.
 * `type, id, ...` by position; the payload of a call is opaque here.
 */
import { BlixardError, type ErrorOutcome, isBlixardError, messageOf } from "@blixard/common";
import { decodeValue, encodeValue } from "./wire-codec.ts";
import { BinaryReader, BinaryWriter, corrupt } from "./wire-codec-binary.ts";

/** An error as it crosses the wire. */
export interface RpcError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly outcome?: ErrorOutcome;
  readonly details?: Readonly<Record<string, unknown>>;
}

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
  | { readonly type: "ping"; readonly id: number }
  | { readonly type: "pong"; readonly id: number };

const methodBytesMax = 128;
const errorBytesMax = 32 * 1024;
const messageLengthMax = 4 * 1024;
const tag = { request: 1, response: 2, error: 3, cancel: 4, ping: 5, pong: 6 } as const;

export function encodeRpcFrame(frame: RpcFrame): Uint8Array {
  const writer = new BinaryWriter();
  writer.byte(tag[frame.type]);
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
    case "cancel":
    case "ping":
    case "pong":
      break;
    default:
      frame satisfies never;
  }
  return writer.finish();
}

/** @throws FRAME_CORRUPT */
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
    default:
      throw corrupt(`frame type ${type} is not known`);
  }
}

/** What of a thrown value may cross the wire: all of a BlixardError, only the message of anything else. */
export function toRpcError(error: unknown): RpcError {
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
  return new BlixardError(code, message, options);
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
  if (!Array.isArray(value) || value.length !== 5) throw corrupt("an error is not in its form");
  const [code, message, hint, outcome, details]: unknown[] = value;
  if (typeof code !== "string" || typeof message !== "string") throw corrupt("an error has no code");
  if (hint !== null && typeof hint !== "string") throw corrupt("a hint is not a text");
  if (outcome !== null && outcome !== "not_applied" && outcome !== "unknown") throw corrupt("an outcome is not known");
  if (details !== null && !isRecord(details)) throw corrupt("details are not an object");
  return {
    code,
    message,
    ...(hint === null ? {} : { hint }),
    ...(outcome === null ? {} : { outcome }),
    ...(details === null ? {} : { details }),
  };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}
