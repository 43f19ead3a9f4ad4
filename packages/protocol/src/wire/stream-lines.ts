/**
 * The items of a stream over HTTP. Each is one JSON object: a line of `application/x-ndjson`, or the data of an event of
 * `text/event-stream` when the caller asks for those. Bytes inside an item are a text in base64. An empty line, or a
 * comment, comes at least every `streamHeartbeatMs` and says that the other side lives. No item has a field `error`: an
 * object with one is the error body of the API, comes last, and says why the stream ended.
 */
import { assertBelow } from "@blixard/common";
import { z } from "zod";
import { type StreamName, type StreamOutputOf, streams } from "../api/contract.ts";
import { bytesSchema } from "../api/values.ts";
import { limits } from "../limits.ts";
import { unreadable } from "./peer-call.ts";

export const streamMediaTypes = { lines: "application/x-ndjson", events: "text/event-stream" } as const;

/** A server that has nothing to tell says so after this time. */
export const streamHeartbeatMs = 5_000;

/** Largest line of an item: a key and a value of which JSON escapes every character, and the largest record of a VM. */
export const streamLineBytesMax = 1024 * 1024;

/** JSON writes a control character as six. */
const escapedBytesMax = 6 * (limits.keyBytesMax + limits.valueBytesMax);
assertBelow(
  { "6 * (keyBytesMax + valueBytesMax)": escapedBytesMax, "2 * consoleReadBytesMax": 2 * limits.consoleReadBytesMax },
  { streamLineBytesMax },
  "a line holds a key with its value, and a piece of a console in base64",
);

/** The form of an item as JSON, with bytes as `bytes` says. */
function jsonForm(schema: z.ZodType, bytes: z.ZodType): z.ZodType {
  if (schema === bytesSchema) return bytes;
  if (schema instanceof z.ZodObject) {
    const fields = Object.entries(schema.shape as Readonly<Record<string, z.ZodType>>);
    return z.object(Object.fromEntries(fields.map(([field, form]) => [field, jsonForm(form, bytes)])));
  }
  return schema;
}

const writtenBytes = z.base64();
const readBytes = writtenBytes.transform(fromBase64);

const readForms = new Map<string, z.ZodType>(
  Object.entries(streams).map(([name, { output }]) => [name, jsonForm(output, readBytes)]),
);

/** The schema of the items of a stream as they stand in JSON. */
export function streamItemSchema(name: StreamName): z.ZodType {
  return jsonForm(streams[name].output, writtenBytes);
}

/** One line without its end. */
export function encodeStreamItem(item: object): string {
  return JSON.stringify(item, bytesAsText);
}

/** The item that a parsed line stands for. @throws ANSWER_UNREADABLE */
export function readStreamItem<Name extends StreamName>(name: Name, line: unknown): StreamOutputOf<Name> {
  const read = readForms.get(name)?.safeParse(line);
  if (read?.success) return read.data as StreamOutputOf<Name>;
  throw unreadable(name, read?.error);
}

/** Sees the value before a `toJSON` of its own, which buffers of Node.js have. */
function bytesAsText(this: unknown, key: string, value: unknown): unknown {
  const given = (this as Readonly<Record<string, unknown>>)[key];
  return given instanceof Uint8Array ? toBase64(given) : value;
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function fromBase64(text: string): Uint8Array {
  const chars = atob(text);
  const bytes = new Uint8Array(chars.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = chars.charCodeAt(at);
  return bytes;
}
