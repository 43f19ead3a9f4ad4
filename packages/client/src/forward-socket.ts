/** A TCP connection to a port of a VM over the HTTP API: a websocket, whose binary messages are what comes. */
import { BlixardError, errorCodeOf, knownErrorCode, offAbort, onAbort, PieceQueue } from "@blixard/common";
import { forwardEnd, nodeRoutes, type StreamOutputOf, type StreamRequestOf } from "@blixard/protocol";
import type { RawData, WebSocket } from "ws";
import type { ChannelStream } from "./channel.ts";
import type { NodeEndpoint } from "./node-endpoint.ts";
import { decodeError, pathOf } from "./wire.ts";

type Piece = StreamOutputOf<"vm.forward">;

const subprotocol = "blixard.forward";
const pieceBytesMax = 64 * 1024;
const closedInOrder = 1_000;

/** @throws what the node refuses with */
export async function openForwardSocket(
  endpoint: Pick<NodeEndpoint, "openSocket">,
  request: StreamRequestOf<"vm.forward">,
  { timeoutMs, signal, input = noInput() }: ChannelStream<"vm.forward">,
): Promise<AsyncIterable<Piece>> {
  const { path: ofPort } = pathOf(nodeRoutes.forward, request);
  const { network } = request;
  const path = network === undefined ? ofPort : `${ofPort}?${new URLSearchParams({ network })}`;
  const { webSocket, refusal } = await endpoint.openSocket({ path, subprotocol, timeoutMs, signal });
  if (refusal !== undefined) throw decodeError(refusal);
  if (webSocket === undefined) throw new BlixardError("INTERNAL", "the node neither accepts nor refuses");
  return piecesOf(webSocket, input, signal);
}

/** Reads no further than what is asked for. The end of the reader, or of the signal, ends the connection. */
function piecesOf(webSocket: WebSocket, input: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined) {
  const queue = new PieceQueue(pieceBytesMax);
  let failure: BlixardError | undefined;
  const fail = (error: BlixardError) => {
    failure ??= error;
    queue.end();
    webSocket.terminate();
  };
  const abort = () => fail(new BlixardError("CANCELLED", "the connection was left"));
  webSocket.on("error", () => fail(new BlixardError("UNREACHABLE", "the connection to the node broke")));
  webSocket.on("message", (data, isBinary) => {
    if (!isBinary) return queue.end();
    queue.push(bytesOf(data));
    webSocket.pause();
  });
  webSocket.on("close", (code, reason) => {
    offAbort(signal, abort);
    if (code !== closedInOrder) fail(closingError(String(reason)));
    queue.end();
  });
  onAbort(signal, abort);
  if (signal?.aborted) abort();
  const given = giveInput(webSocket, input);
  given.catch((error: unknown) => fail(failureOf(error)));
  const pieces = async function* (): AsyncGenerator<Piece> {
    let isWhole = false;
    try {
      for await (const data of queue.pieces(() => webSocket.resume())) {
        yield { data: new Uint8Array(data), ended: false };
      }
      if (failure !== undefined) throw failure;
      yield { data: new Uint8Array(0), ended: true };
      webSocket.resume();
      await given;
      isWhole = true;
    } finally {
      if (isWhole) webSocket.close(closedInOrder);
      else webSocket.terminate();
    }
  };
  return pieces();
}

async function giveInput(webSocket: WebSocket, input: AsyncIterable<Uint8Array>): Promise<void> {
  const send = (data: Uint8Array | string) =>
    new Promise<void>((resolve, reject) => {
      webSocket.send(data, { binary: typeof data !== "string" }, (error) => (error ? reject(error) : resolve()));
    });
  for await (const data of input) await send(data);
  await send(forwardEnd);
}

/** `CODE: message`, as the node closes what broke. */
function closingError(reason: string): BlixardError {
  const [, code, message] = /^([A-Z_]+): (.*)$/s.exec(reason) ?? [];
  const known = knownErrorCode(code);
  if (known === undefined) return new BlixardError("UNREACHABLE", "the connection to the node broke");
  return new BlixardError(known, message ?? "");
}

function failureOf(error: unknown): BlixardError {
  return new BlixardError(errorCodeOf(error) ?? "UNREACHABLE", "what was to go to the VM could not be sent", {
    cause: error,
  });
}

function bytesOf(data: RawData): Buffer {
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
}

async function* noInput(): AsyncGenerator<Uint8Array> {}
