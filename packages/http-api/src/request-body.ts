/** Reads request bodies within limits. */
import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { BlixardError, messageOf, notApplied } from "@blixard/common";
import { httpLimits } from "./http-types.ts";

/** The whole body. @throws VALUE_TOO_LARGE */
export function readBytes(incoming: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const declared = incoming.headers["content-length"];
  if (declared !== undefined && Number(declared) > bytesMax) return Promise.reject(tooLarge(bytesMax));
  if (incoming.readableEnded) return Promise.resolve(Buffer.alloc(0));
  if (incoming.destroyed) return Promise.reject(cutOff());
  return readPieces(incoming, bytesMax);
}

/**
 * Listens itself: the iterator of a stream costs more than everything else that is done for a small request. The listeners
 * go with the request.
 */
function readPieces(incoming: IncomingMessage, bytesMax: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let first: Buffer | undefined;
    let others: Buffer[] | undefined;
    let length = 0;
    incoming.on("data", (piece: Buffer) => {
      length += piece.length;
      if (length > bytesMax) {
        incoming.destroy();
        reject(tooLarge(bytesMax));
      } else if (first === undefined) first = piece;
      else {
        others ??= [];
        others.push(piece);
      }
    });
    incoming.on("end", () => {
      const whole = first ?? Buffer.alloc(0);
      resolve(others === undefined ? whole : Buffer.concat([whole, ...others], length));
    });
    incoming.on("close", () => {
      // It closes after its end as well.
      if (!incoming.readableEnded) reject(cutOff());
    });
  });
}

const cutOff = () => new BlixardError("CANCELLED", "the connection ended in the middle of the body");

const byteOrderMark = "\ufeff";

/** @throws TypeError for bytes that are no UTF-8 */
function textOf(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new TypeError("it is not UTF-8");
  const text = bytes.toString("utf8");
  return text.startsWith(byteOrderMark) ? text.slice(1) : text;
}

/** The fields of a JSON object; none for an empty body. @throws MALFORMED_JSON, INVALID_ARGUMENT, VALUE_TOO_LARGE */
export async function readJsonObject(incoming: IncomingMessage): Promise<Record<string, unknown>> {
  const bytes = await readBytes(incoming, httpLimits.jsonBodyBytesMax);
  if (bytes.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(textOf(bytes));
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
