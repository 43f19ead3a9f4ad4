/** Reads request bodies within limits. */
import type { IncomingMessage } from "node:http";
import { BlixardError, messageOf, notApplied } from "@blixard/common";
import { httpLimits } from "./http-types.ts";

/** The whole body. @throws VALUE_TOO_LARGE */
export async function readBytes(incoming: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const declared = Number(incoming.headers["content-length"] ?? 0);
  if (declared > bytesMax) throw tooLarge(bytesMax);
  if (incoming.readableEnded) return Buffer.alloc(0);
  if (incoming.destroyed) throw cutOff();
  return readPieces(incoming, bytesMax);
}

/** Listens itself: the iterator of a stream costs more than everything else that is done for a small request. */
function readPieces(incoming: IncomingMessage, bytesMax: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let length = 0;
    const take = (piece: Buffer) => {
      length += piece.length;
      pieces.push(piece);
      if (length > bytesMax) fail(tooLarge(bytesMax));
    };
    const finish = () => {
      stop();
      resolve(pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces, length));
    };
    const fail = (error: Error) => {
      stop();
      incoming.destroy();
      reject(error);
    };
    const close = () => fail(cutOff());
    const stop = () => incoming.off("data", take).off("end", finish).off("error", fail).off("close", close);
    incoming.on("data", take).on("end", finish).on("error", fail).on("close", close);
  });
}

const cutOff = () => new BlixardError("CANCELLED", "the connection ended in the middle of the body");

/** Without state between two calls, and dear to make. */
const strictUtf8 = new TextDecoder("utf-8", { fatal: true });

/** The fields of a JSON object; none for an empty body. @throws MALFORMED_JSON, INVALID_ARGUMENT, VALUE_TOO_LARGE */
export async function readJsonObject(incoming: IncomingMessage): Promise<Record<string, unknown>> {
  const bytes = await readBytes(incoming, httpLimits.jsonBodyBytesMax);
  if (bytes.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(strictUtf8.decode(bytes));
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
