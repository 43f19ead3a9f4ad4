/** Reads request bodies within limits. */
import type { IncomingMessage } from "node:http";
import { type BlixardError, messageOf, notApplied } from "@blixard/common";
import { httpLimits } from "./http-types.ts";

/** The whole body. @throws VALUE_TOO_LARGE */
export async function readBytes(incoming: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const declared = Number(incoming.headers["content-length"] ?? 0);
  if (declared > bytesMax) throw tooLarge(bytesMax);
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of incoming) {
    const bytes = piece as Buffer;
    length += bytes.length;
    if (length > bytesMax) throw tooLarge(bytesMax);
    pieces.push(bytes);
  }
  return Buffer.concat(pieces, length);
}

/** The fields of a JSON object; none for an empty body. @throws MALFORMED_JSON, INVALID_ARGUMENT, VALUE_TOO_LARGE */
export async function readJsonObject(incoming: IncomingMessage): Promise<Record<string, unknown>> {
  const bytes = await readBytes(incoming, httpLimits.jsonBodyBytesMax);
  if (bytes.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw notApplied("MALFORMED_JSON", `the body is not JSON: ${messageOf(error)}`, {
      hint: 'Send one JSON object, for example {"value":"v"}.',
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw notApplied("INVALID_ARGUMENT", "the body must be a JSON object");
  }
  return value as Record<string, unknown>;
}

function tooLarge(bytesMax: number): BlixardError {
  return notApplied("VALUE_TOO_LARGE", `the body is larger than ${bytesMax} bytes`);
}
