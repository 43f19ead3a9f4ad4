/**
 * Frames that no well-behaved peer sends, hand-made and mutated from good ones, with what must come of each: `fatal`
 * costs the sender its connection and is counted under a reason, `harmless` is refused by itself or answered with an
 * error, `partial` never becomes a whole frame. Those of the RPC lane are a stranger's. The same seed gives the same frames.
 */
import { crc32, deflateRawSync } from "node:zlib";
import { errorCodeOf, type Random } from "@blixard/common";
import {
  decodeRpcFrame,
  encodeRpcBatch,
  encodeRpcFrame,
  type RpcFrame,
  rpcFramesIn,
  rpcStreamCreditBytesMax,
} from "@blixard/protocol";
import { decodePeerMessages, encodePeerMessages } from "@blixard/protocol/peer-messages";
import type { PeerMessage } from "@blixard/raft";
import { encodeFrame, FrameReader, frameHeaderBytes } from "../frames/frame.ts";
import { refusalOf } from "../frames/frame-link.ts";
import { encodeHello } from "../session/hello.ts";
import type { NodeLane } from "../transport-lanes.ts";
import { transportLimits } from "../transport-limits.ts";
import { hostileValues } from "./hostile-values.ts";
import { append, heartbeat } from "./transport-fixture.ts";

export interface HostileFrame {
  readonly lane: NodeLane;
  readonly bytes: Uint8Array;
  readonly fate: "fatal" | "harmless" | "partial";
  /** The name under which a fatal frame is counted. */
  readonly refusal?: string;
  /** Messages in a harmless frame that are counted, by reason. */
  readonly refusals: Readonly<Record<string, number>>;
}

export interface HostileFrameOptions {
  /** The node that the sender has a key of, and the one that it sends to. */
  readonly from: number;
  readonly to: number;
}

const frameOptions = { frameBytesMax: transportLimits.frameBytesMax, compress: false };
const strangerOptions = { ...frameOptions, frameBytesMax: transportLimits.rpcStrangerFrameBytesMax };
const normalClassFlag = 1 << 1;
/** A message may name only nodes that exist nowhere else, so that a mutation never speaks for a real one. */
const nobody = 4_000_000;

export class HostileFrames {
  readonly #random: Random;
  readonly #options: HostileFrameOptions;
  readonly #largeIds = new Set<number>();
  #callId = 1;

  constructor(random: Random, options: HostileFrameOptions) {
    this.#random = random;
    this.#options = options;
  }

  /** The next frame. Never one that a member might send: those are not refused. Never one with an unsure fate. */
  next(): HostileFrame {
    for (;;) {
      const lane: NodeLane = this.#random.next() < 0.5 ? "blixard/raft/1" : "blixard/rpc/1";
      const frame = this.#classified(lane, this.#bytesOf(lane));
      if (frame !== undefined) return frame;
    }
  }

  /** The greeting that opens a Raft connection. */
  hello(sequence: number): Uint8Array {
    const { from, to } = this.#options;
    return framed(encodeHello({ nodeId: from, toNodeId: to, instance: 77, sequence }), { hello: true });
  }

  #bytesOf(lane: NodeLane): Uint8Array {
    const payload = lane === "blixard/raft/1" ? this.#raftPayload() : this.#rpcPayload();
    const chosen = this.#below(10);
    if (chosen < 4) return framed(payload);
    if (chosen < 7) return framed(this.#mutated(payload));
    return chosen === 7 ? this.#mutated(framed(payload)) : this.#badHeader(payload);
  }

  #raftPayload(): Uint8Array {
    const { from, to } = this.#options;
    const other = nobody + this.#below(1_000);
    const proposal = { type: "proposal", term: 1, session: this.#below(9), sequence: this.#below(9), force: true };
    const messages = [
      () => [heartbeat(other, to, { commit: this.#below(2 ** 31) } as never)],
      () => [heartbeat(from, other, { term: this.#below(2 ** 31) } as never)],
      () => [append(other, to, this.#below(99), this.#random.bytes(this.#below(200)))],
      () => [{ type: "snapshotAck", index: this.#below(9), term: 1, receivedBytes: 2 ** 52, refused: false }],
      () => [{ ...proposal, entry: { term: 0, index: 0, kind: "normal", data: this.#random.bytes(40) } }],
      () => [{ type: "proposalAnswer", session: 1, sequence: 2, verdict: { type: "placed", index: 3, term: 4 } }],
      () => Array.from({ length: 1 + this.#below(50) }, () => heartbeat(other, to)),
    ];
    return encodePeerMessages(this.#oneOf(messages)() as readonly PeerMessage[]);
  }

  #rpcPayload(): Uint8Array {
    const frame = this.#rpcFrame();
    return this.#below(8) === 0 ? encodeRpcBatch([frame]) : frame;
  }

  #rpcFrame(): Uint8Array {
    const id = this.#below(20) === 0 ? Number.MAX_SAFE_INTEGER - this.#callId : this.#callId;
    this.#callId++;
    const chosen = this.#below(12);
    if (chosen >= 8) return encodeRpcFrame(this.#streamFrame(id, chosen));
    if (chosen === 0) return encodeRpcFrame({ type: "response", id, payload: this.#random.bytes(20) });
    if (chosen === 1) return encodeRpcFrame({ type: "cancel", id });
    if (chosen === 2) return encodeRpcFrame({ type: "pong", id });
    if (chosen === 3) return errorFrame(id, this.#oneOf(hostileValues)(this.#random));
    return encodeRpcFrame({ type: "request", id, ...this.#hostileCall() });
  }

  /** What a stream consists of. All but the opening are of a call that nobody knows, unless a mutation changes the id. */
  #streamFrame(id: number, chosen: number): RpcFrame {
    const by = this.#oneOf(["caller", "callee"] as const);
    const bytes = this.#oneOf([
      0,
      1,
      64,
      rpcStreamCreditBytesMax,
      rpcStreamCreditBytesMax + 1,
      Number.MAX_SAFE_INTEGER,
    ]);
    if (chosen === 8) return { type: "item", id, by, payload: this.#random.bytes(this.#below(200)) };
    if (chosen === 9) return { type: "end", id, by };
    if (chosen === 10) return { type: "credit", id, by, bytes };
    return { type: "open", id, creditBytes: bytes, ...this.#hostileCall() };
  }

  #hostileCall() {
    const names = ["forward", "kv.put", "join.request", "status.get", "vm.console", "__proto__", "constructor", "\0"];
    const timeoutMs = this.#oneOf([0, 1, 1_000, Number.MAX_SAFE_INTEGER]);
    return { method: this.#oneOf(names), timeoutMs, payload: this.#oneOf(hostileValues)(this.#random) };
  }

  #badHeader(payload: Uint8Array): Uint8Array {
    const bytes = framed(payload);
    const view = new DataView(bytes.buffer);
    const kinds = [
      () => view.setUint32(4, 0xffff_ffff),
      () => view.setUint32(4, transportLimits.urgentFrameBytesMax + 1),
      () => {
        view.setUint8(3, normalClassFlag);
        view.setUint32(4, transportLimits.rpcStrangerFrameBytesMax + 1);
      },
      () => view.setUint32(4, 0),
      () => view.setUint32(8, view.getUint32(8) ^ (1 << this.#below(32))),
      () => view.setUint8(2, this.#below(256)),
      () => view.setUint8(3, this.#below(256)),
      () => view.setUint8(0, this.#below(256)),
    ];
    const chosen = this.#below(kinds.length + 5);
    const change = kinds[chosen];
    if (change !== undefined) {
      change();
      return bytes;
    }
    switch (chosen - kinds.length) {
      case 0:
        return framed(payload, { hello: true });
      case 1:
        return packed(bomb);
      case 2:
        return packed(payload);
      case 3:
        return bytes.subarray(0, 1 + this.#below(bytes.length - 1));
      default:
        // Said to be compressed, with and without the dictionary.
        return withFlags(payload, this.#oneOf([1, 17]));
    }
  }

  /** A few bytes changed, cut out, doubled, or made of what often breaks a decoder. */
  #mutated(good: Uint8Array): Uint8Array {
    let bytes = [...good];
    const edits = 1 + this.#below(4);
    for (let edit = 0; edit < edits; edit++) {
      const at = this.#below(bytes.length + 1);
      const kinds = [
        () => bytes.splice(at, 1, this.#below(256)),
        () => bytes.splice(at, 1 + this.#below(8)),
        () => bytes.splice(at, 0, ...this.#random.bytes(1 + this.#below(8))),
        () => bytes.splice(at, 1, this.#oneOf([0, 0x7f, 0x80, 0xc1, 0xc7, 0xd4, 0xdd, 0xdf, 0xff])),
        () => bytes.splice(at, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f),
        () => bytes.push(...bytes.slice(at)),
      ];
      this.#oneOf(kinds)();
      bytes = bytes.slice(0, 8_192);
    }
    return Uint8Array.from(bytes);
  }

  #classified(lane: NodeLane, bytes: Uint8Array): HostileFrame | undefined {
    const reader = new FrameReader(lane === "blixard/rpc/1" ? strangerOptions : frameOptions);
    const refusals: Record<string, number> = {};
    const fate = (kind: HostileFrame["fate"], refusal?: string): HostileFrame => {
      return { lane, bytes, fate: kind, refusals, ...(refusal === undefined ? {} : { refusal }) };
    };
    try {
      let frames = 0;
      for (const { hello, payload } of reader.push(bytes)) {
        frames++;
        // Of two frames, the first may be answered before the second one comes, or not.
        if (lane === "blixard/rpc/1" && frames > 1) return undefined;
        if (lane === "blixard/raft/1" && hello) return fate("fatal", "bad_frame");
        if (!this.#isHarmless(lane, hello, payload, refusals)) return undefined;
      }
      if (framesLength(bytes) === bytes.length) return fate(frames > 0 ? "harmless" : "partial");
      // Whole frames before a partial one: whether they are still read when the sender hangs up, nobody can say.
      return frames > 0 ? undefined : fate("partial");
    } catch (error) {
      return fate("fatal", refusalOf(error) ?? `unexpected ${errorCodeOf(error)}`);
    }
  }

  /** What looks like a message of a later release is counted and left out. */
  #isHarmless(lane: NodeLane, hello: boolean, payload: Uint8Array, refusals: Record<string, number>): boolean {
    try {
      return lane === "blixard/rpc/1" ? this.#isHarmlessCall(payload) : this.#isHarmlessBatch(payload, refusals);
    } catch (error) {
      if (hello || errorCodeOf(error) !== "UNSUPPORTED_VERSION") throw error;
      refusals["unsupported_version"] = (refusals["unsupported_version"] ?? 0) + 1;
      return true;
    }
  }

  /** False for a frame whose fate depends on what else is under way: an id may not come twice, nor a call's item late. */
  #isHarmlessCall(payload: Uint8Array): boolean {
    const [first, ...more] = rpcFramesIn(payload);
    // Of several frames in one payload, the first may be answered before the others are read, or not.
    if (more.length > 0) return false;
    if (first === undefined) return true;
    const frame = decodeRpcFrame(first);
    const ofOwnCall = frame.type === "request" || frame.type === "open" || ("by" in frame && frame.by === "caller");
    if (!ofOwnCall || frame.id === this.#callId - 1) return true;
    if (frame.id < Number.MAX_SAFE_INTEGER / 2 || this.#largeIds.has(frame.id)) return false;
    this.#largeIds.add(frame.id);
    return true;
  }

  #isHarmlessBatch(payload: Uint8Array, refusals: Record<string, number>): boolean {
    if (payload.length === 0) return true;
    for (const message of decodePeerMessages(payload)) {
      if (message.type !== "raft" && message.type !== "snapshotChunk") continue;
      const { from, to } = message.message;
      const reason = from !== this.#options.from ? "forged_from" : to !== this.#options.to ? "wrong_node" : undefined;
      // A member that lies about the state of Raft in its own name is not what this is about.
      if (reason === undefined) return false;
      refusals[reason] = (refusals[reason] ?? 0) + 1;
    }
    return true;
  }

  #below(limit: number): number {
    return Math.floor(this.#random.next() * limit);
  }

  #oneOf<T>(items: readonly T[]): T {
    return items[this.#below(items.length)] as T;
  }
}

/** Inflates to far more than any frame may have. */
const bomb = deflateRawSync(new Uint8Array(32 * 1024 * 1024), { level: 9 });

function framed(payload: Uint8Array, flags: { readonly hello?: boolean } = {}): Uint8Array {
  return encodeFrame({ streamClass: "urgent", hello: flags.hello ?? false, payload }, frameOptions);
}

const packed = (payload: Uint8Array) => withFlags(deflateRawSync(payload), 1);

/** A frame with flags of one's choice and a good checksum. */
function withFlags(body: Uint8Array, flags: number): Uint8Array {
  const bytes = new Uint8Array(frameHeaderBytes + body.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x42, 0x58, 1, flags]);
  view.setUint32(4, body.length);
  view.setUint32(8, crc32(body, crc32(bytes.subarray(0, 8))));
  bytes.set(body, frameHeaderBytes);
  return bytes;
}

function errorFrame(id: number, details: Uint8Array): Uint8Array {
  const good = encodeRpcFrame({ type: "error", id, error: { code: "INTERNAL", message: "", details: {} } });
  const head = good.subarray(0, good.length - 1);
  return Uint8Array.from([...head, ...details]);
}

/** Up to where `bytes` hold whole frames. */
function framesLength(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at + frameHeaderBytes <= bytes.length) at += frameHeaderBytes + view.getUint32(at + 4);
  return at;
}
