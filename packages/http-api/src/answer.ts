/** Writes answers. */
import { pipeline } from "node:stream/promises";
import { type Clock, systemErrorCodeOf } from "@blixard/common";
import { headers } from "@blixard/protocol";
import type { Answer, Exchange } from "./exchange.ts";
import { httpLimits } from "./http-types.ts";

/** Errors of an answer whose caller has gone. */
const goneCodes: ReadonlySet<string> = new Set([
  "ERR_STREAM_PREMATURE_CLOSE",
  "ERR_STREAM_DESTROYED",
  "ECONNRESET",
  "EPIPE",
]);

/** It has no body, and its headers are those of the answer that the caller has. */
const notModified = 304;

/** Resolves when an answer that is written piece by piece has ended. Any other is only handed to Node.js. */
export async function sendAnswer(exchange: Exchange, answer: Answer, clock: Clock): Promise<void> {
  const { incoming, outgoing, ownHeaders, requestId } = exchange;
  const { status, type, body } = answer;
  const written: Record<string, string | number> = {
    "content-type": type,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  };
  if (requestId !== "") written[headers.requestId] = requestId;
  if (ownHeaders !== undefined) Object.assign(written, ownHeaders);
  if (!incoming.complete) endSoon(exchange, clock);
  const isWhole = typeof body === "string" || body instanceof Uint8Array;
  if (status === notModified) {
    outgoing.writeHead(status, written).end();
    return;
  }
  if (isWhole) {
    written["content-length"] = typeof body === "string" ? Buffer.byteLength(body) : body.length;
    outgoing.writeHead(status, written).end(body);
    return;
  }
  outgoing.writeHead(status, written);
  try {
    await pipeline(body, outgoing);
  } catch (error) {
    // A caller that has gone ends the stream, and is no fault of anybody.
    if (!goneCodes.has(systemErrorCodeOf(error) ?? "")) throw error;
  }
}

/**
 * The rest of a body that nobody reads: a caller that is still sending it would not read the answer before it has sent it
 * all, and may send for ever.
 */
function endSoon({ incoming, outgoing }: Exchange, clock: Clock): void {
  const { socket } = incoming;
  outgoing.once("finish", () => {
    if (incoming.complete) return;
    incoming.resume();
    const timer = clock.setTimer(httpLimits.unreadBodyMsMax, () => socket.destroy());
    const stop = () => timer.cancel();
    incoming.once("end", stop).once("close", stop).once("error", stop);
  });
}
