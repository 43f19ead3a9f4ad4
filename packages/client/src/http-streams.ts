/**
 * The streams of a node over its HTTP API: the lines of an answer that does not end. The console, whose input HTTP cannot
 * carry beside its output, is the stream of the output and a request for each piece of input, in order.
 */
import { BlixardError, linkSignal, toUtf8, Watch } from "@blixard/common";
import {
  headers,
  readStreamItem,
  type StreamMethod,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
  streamHeartbeatMs,
  streamLineBytesMax,
  streams,
} from "@blixard/protocol";
import { type ChannelStream, nodeTimeoutMs } from "./channel.ts";
import type { HttpStreamAnswer, NodeEndpoint } from "./node-endpoint.ts";
import { decodeError, decodeErrorBody, encodeOpening } from "./wire.ts";

/** A node that says nothing for so long is gone. */
const silenceMsMax = 3 * streamHeartbeatMs;
const errorBytesMax = 1024 * 1024;
/**
 * A stream of which nobody takes an item for so long is given up: a reader that went without a word would hold the
 * connection for ever. What comes meanwhile waits in the buffers of the sockets, and then at the node.
 */
const unreadMsMaxDefault = 300_000;

/** @throws UNSUPPORTED for a stream that HTTP does not carry, and what the node answers */
export async function openHttpStream<Name extends StreamName>(
  endpoint: NodeEndpoint,
  name: Name,
  request: StreamRequestOf<Name>,
  call: Omit<ChannelStream<Name>, "input">,
  unreadMsMax = unreadMsMaxDefault,
): Promise<AsyncIterable<StreamOutputOf<Name>>> {
  const { http }: StreamMethod = streams[name];
  if (http === undefined) throw new BlixardError("UNSUPPORTED", `${name} does not travel over HTTP`);
  const encoded = encodeOpening(http, request, call.stale ?? false);
  const { timeoutMs, signal } = call;
  const timing = { [headers.timeoutMs]: String(nodeTimeoutMs(call)) };
  const exchange = { ...encoded, timeoutMs, headers: { ...timing, ...encoded.headers } };
  const answer = await endpoint.open({ ...exchange, ...(signal === undefined ? {} : { signal }) }, silenceMsMax);
  if (answer.status !== 200) throw decodeError({ ...answer, body: await wholeBody(answer) });
  const requestId = answer.headers[headers.requestId];
  const items = itemsOf(name, answer, typeof requestId === "string" ? requestId : undefined);
  return whileRead(items, answer, unreadMsMax);
}

/** The items, until they end, their reader stops, or nobody has asked for one within `unreadMsMax`. */
function whileRead<Item>(
  items: AsyncGenerator<Item>,
  answer: Pick<HttpStreamAnswer, "close">,
  unreadMsMax: number,
): AsyncIterable<Item> {
  const giveUp = () =>
    answer.close(new BlixardError("UNREACHABLE", `the stream was given up: nobody read it for ${unreadMsMax} ms`));
  const arm = () => setTimeout(giveUp, unreadMsMax).unref();
  let timer = arm();
  const iterator: AsyncIterator<Item> = {
    async next() {
      clearTimeout(timer);
      const result = await items.next();
      if (result.done !== true) timer = arm();
      return result;
    },
    return() {
      clearTimeout(timer);
      answer.close(new BlixardError("CANCELLED", "the reader has stopped"));
      return items.return(undefined);
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

async function wholeBody({ body }: HttpStreamAnswer): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body) {
    length += piece.length;
    if (length > errorBytesMax) break;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function* itemsOf<Name extends StreamName>(
  name: Name,
  { body }: HttpStreamAnswer,
  requestId: string | undefined,
): AsyncGenerator<StreamOutputOf<Name>> {
  for await (const line of linesOf(body)) {
    const value = parsed(line);
    const error = decodeErrorBody(value, requestId);
    if (error !== undefined) throw error;
    yield readStreamItem(name, value);
  }
}

/** Text that is no JSON is no item either: who reads items says so. */
function parsed(line: Uint8Array): unknown {
  try {
    return JSON.parse(toUtf8(line));
  } catch {
    return undefined;
  }
}

const newline = 0x0a;

/** The lines of a body without their ends; empty ones only say that the node lives. @throws ANSWER_UNREADABLE */
export async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let begun: Uint8Array[] = [];
  let begunBytes = 0;
  for await (const piece of body) {
    let from = 0;
    for (let end = piece.indexOf(newline); end >= 0; end = piece.indexOf(newline, from)) {
      const line = Buffer.concat([...begun, piece.subarray(from, end)]);
      if (line.length > 0) yield line;
      begun = [];
      begunBytes = 0;
      from = end + 1;
    }
    begun.push(piece.subarray(from));
    begunBytes += piece.length - from;
    if (begunBytes > streamLineBytesMax) {
      throw new BlixardError("ANSWER_UNREADABLE", `a line of the answer is longer than ${streamLineBytesMax} bytes`);
    }
  }
  // A body that ends with its last line cut off was cut off.
  if (begunBytes > 0) throw new BlixardError("UNREACHABLE", "the answer ended in the middle of a line");
}

type ConsolePiece = StreamOutputOf<"vm.console">;

export interface ConsoleDeps {
  readonly open: (
    request: StreamRequestOf<"vm.logs">,
    call: ChannelStream<"vm.logs">,
  ) => Promise<AsyncIterable<StreamOutputOf<"vm.logs">>>;
  /** Gives a piece of input to the VM. */
  readonly write: (data: Uint8Array, signal: AbortSignal) => Promise<unknown>;
}

/** The console as the RPC lane has it. */
export async function openHttpConsole(
  { open, write }: ConsoleDeps,
  request: StreamRequestOf<"vm.console">,
  call: ChannelStream<"vm.console">,
): Promise<AsyncIterable<ConsolePiece>> {
  const { input = noInput(), ...limits } = call;
  // The output ends with this reader, also while it waits for more.
  const life = linkSignal(call.signal);
  try {
    const output = await open(request, { ...limits, signal: life.signal });
    const writeAll = async () => {
      for await (const data of input) await write(data, life.signal);
    };
    return withInput(output, writeAll, request.offset, () => {
      life.abort();
      life.release();
    });
  } catch (error) {
    life.release();
    throw error;
  }
}

interface ConsoleState {
  /** The next piece of output, or how the output ended. */
  readonly arrived?: { readonly result: IteratorResult<StreamOutputOf<"vm.logs">> } | { readonly error: unknown };
  /** All input was given, or could not be. */
  readonly written?: { readonly error?: unknown };
}

async function* withInput(
  output: AsyncIterable<StreamOutputOf<"vm.logs">>,
  writeAll: () => Promise<void>,
  start: number,
  end: () => void,
): AsyncGenerator<ConsolePiece> {
  const pieces = output[Symbol.asyncIterator]();
  const state = new Watch<ConsoleState>({});
  const take = (news: ConsoleState) => state.update((before) => ({ ...before, ...news }));
  const readNext = () => {
    pieces.next().then(
      (result) => take({ arrived: { result } }),
      (error: unknown) => take({ arrived: { error } }),
    );
  };
  let offset = start;
  let inputEndReported = false;
  try {
    writeAll().then(
      () => take({ written: {} }),
      (error: unknown) => take({ written: { error } }),
    );
    readNext();
    for (;;) {
      const { arrived, written } = await state.until(
        (now) => now.arrived !== undefined || (now.written !== undefined && !inputEndReported),
      );
      if (written !== undefined && "error" in written) throw written.error;
      if (written !== undefined && !inputEndReported) {
        inputEndReported = true;
        yield { offset, data: new Uint8Array(0), inputEnded: true };
      } else if (arrived !== undefined) {
        if ("error" in arrived) throw arrived.error;
        if (arrived.result.done === true) return;
        const piece = arrived.result.value;
        state.update(({ written: now }) => (now === undefined ? {} : { written: now }));
        readNext();
        offset = piece.offset + piece.data.length;
        yield { ...piece, inputEnded: false };
      }
    }
  } finally {
    end();
  }
}

async function* noInput(): AsyncGenerator<Uint8Array> {}
