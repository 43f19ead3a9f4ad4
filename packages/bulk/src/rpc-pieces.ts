/**
 * The route over the RPC lane, for nodes that no other route reaches: the same requests and answers, in small pieces. A piece
 * costs the event loop a few milliseconds over Iroh, and the receiver pauses for as long as each piece took, so that the
 * consensus and the heartbeats of both nodes are not held up. See docs/decisions/bulk-lane.md.
 */
import { BlixardError, type Clock, fromUtf8, notApplied, sleep, toUtf8 } from "@blixard/common";
import { bulkLimits } from "./bulk-limits.ts";
import { type BulkRequestHandler, isPiece, type Piece } from "./bulk-request-handler.ts";
import type { BulkChannel, BulkRequestOptions } from "./bulk-types.ts";

/** The method of the RPC lane. Request: `path offset length`; answer: the whole length as u32, then the piece. */
export const pieceMethod = "bulk.read";

const headerBytes = 4;

export type CallForPiece = (
  nodeId: number,
  method: string,
  payload: Uint8Array,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
) => Promise<Uint8Array>;

/** @throws INVALID_ARGUMENT and whatever the handler throws */
export async function answerPiece(
  requests: BulkRequestHandler,
  endpointId: string,
  payload: Uint8Array,
): Promise<Uint8Array> {
  const { path, piece } = readRequest(payload);
  let answer = new Uint8Array(headerBytes);
  await requests.answer({ endpointId, path, piece, route: "rpc" }, async (bytes, wholeBytes) => {
    answer = new Uint8Array(headerBytes + bytes.length);
    new DataView(answer.buffer).setUint32(0, wholeBytes);
    answer.set(bytes, headerBytes);
  });
  return answer;
}

function readRequest(payload: Uint8Array): { readonly path: string; readonly piece: Piece } {
  const text = payload.length > bulkLimits.headerBytesMax ? "" : toUtf8(payload);
  const [path = "", offset = "", length = ""] = text.split(" ");
  const piece = { offset: Number(offset), length: Number(length) };
  if (isPiece(piece)) return { path, piece };
  throw notApplied("INVALID_ARGUMENT", "not a request of the bulk lane");
}

export class PieceChannel implements BulkChannel {
  readonly route = "rpc";
  readonly closed = false;
  readonly #clock: Clock;
  readonly #nodeId: number;
  readonly #call: CallForPiece;

  constructor(clock: Clock, nodeId: number, call: CallForPiece) {
    this.#clock = clock;
    this.#nodeId = nodeId;
    this.#call = call;
  }

  async request(path: string, options: BulkRequestOptions): Promise<Uint8Array> {
    let whole: Uint8Array | undefined;
    for (let received = 0; whole === undefined || received < whole.length; ) {
      const startMs = this.#clock.monotonicMs();
      const answer = await this.#piece(path, received, options);
      const wholeBytes = new DataView(answer.buffer, answer.byteOffset).getUint32(0);
      if (wholeBytes > options.bytesMax) throw new BlixardError("FRAME_TOO_LARGE", "too long an answer");
      whole ??= options.into?.subarray(0, wholeBytes) ?? new Uint8Array(wholeBytes);
      const piece = answer.subarray(headerBytes);
      const fits = wholeBytes === whole.length && received + piece.length <= wholeBytes;
      if (!fits || (piece.length === 0 && wholeBytes > 0)) {
        throw new BlixardError("FRAME_CORRUPT", "a piece that does not fit the others");
      }
      whole.set(piece, received);
      received += piece.length;
      if (received < whole.length) await sleep(this.#clock, this.#clock.monotonicMs() - startMs, options.signal);
    }
    return whole;
  }

  close(): void {}

  async #piece(path: string, offset: number, { stallMs, signal }: BulkRequestOptions): Promise<Uint8Array> {
    const payload = fromUtf8(`${path} ${offset} ${bulkLimits.pieceBytes}`);
    const answer = await this.#call(this.#nodeId, pieceMethod, payload, { timeoutMs: stallMs, signal });
    if (answer.length >= headerBytes) return answer;
    throw new BlixardError("FRAME_CORRUPT", "not an answer of the bulk lane");
  }
}
