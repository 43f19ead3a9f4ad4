/**
 * How a node and the switch of its VMs speak of one connection into a guest, over a socket of its own: frames with their lengths in
 * front, the first byte of each its kind. The node asks once and is answered once; then both say what comes, and at last that no
 * more does. A socket that closes before that says that the connection broke.
 */
import { frameBytesMax, lengthBytes, withLength } from "../frame-reader.ts";

const kinds = { ask: 0, answer: 1, content: 2, end: 3 } as const;
type Kind = keyof typeof kinds;
const names = Object.keys(kinds) as readonly Kind[];

/** Of one frame. */
export const contentBytesMax = 32 * 1024;
if (contentBytesMax + 1 > frameBytesMax) throw new Error("a frame holds its content");

export interface StreamAsk {
  readonly vmId: string;
  readonly port: number;
  /** A private network; absent: the network `user`. */
  readonly networkId?: string;
}

export interface StreamAnswer {
  /** Why there is no connection; undefined when there is one. */
  readonly problem?: string;
}

export interface StreamFrame {
  readonly kind: Kind | undefined;
  readonly content: Buffer;
}

export function streamFrame(kind: Kind, content: Uint8Array = Buffer.alloc(0)): Buffer {
  return withLength(Buffer.concat([Buffer.of(kinds[kind]), content]));
}

export function jsonFrame(kind: "ask" | "answer", value: StreamAsk | StreamAnswer): Buffer {
  return streamFrame(kind, Buffer.from(JSON.stringify(value)));
}

/** `frame` has its length in front. */
export function readStreamFrame(frame: Buffer): StreamFrame {
  return { kind: names[frame[lengthBytes] ?? names.length], content: frame.subarray(lengthBytes + 1) };
}
