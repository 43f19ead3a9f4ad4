/**
 * A run of log entries in one payload, so that a Ready's entries cost one record whatever their number.
 *
 *     block: chain before it (4) | count (4) | entries
 *     entry: term (8) | kind (1) | length of data (4) | data
 *
 * The chain is a running CRC-32 over the encoded entries since the base of the log. It ties every entry to all those
 * before it: a block that is missing, stale or out of place does not fit its neighbours.
 */
import { crc32 } from "node:zlib";
import { asLogIndex, asTerm, type ConfChange, type Entry, type LogIndex } from "@blixard/raft/core";
import { crc32Of } from "./crc32.ts";
import { readUint64 } from "./integers.ts";
import { pack, unpack } from "./packed.ts";
import { corrupt, recordHeaderBytes } from "./record.ts";

const blockHeaderBytes = 8;
const entryHeaderBytes = 13;
const uint32Range = 0x1_0000_0000;
/** Bytes of a block that are copied at once. */
const sharedBytes = 8 * 1024;
const kinds = { normal: 0, confChange: 1 } as const;

export interface EncodedBlock {
  /** The payload with room for its record's header before it (see `sealInPlace`). */
  readonly record: Buffer;
  /** The chain after the last entry. */
  readonly chainAfter: number;
}

export interface DecodedBlock {
  readonly chainBefore: number;
  readonly entries: readonly Entry[];
  readonly chains: readonly number[];
}

export function encodeEntryBlock(entries: readonly Entry[], chainBefore: number): EncodedBlock {
  const bodies = entries.map((entry) => (entry.kind === "normal" ? entry.data : packChange(entry.change)));
  const start = recordHeaderBytes + blockHeaderBytes;
  let length = start;
  for (const body of bodies) length += entryHeaderBytes + body.length;
  const record = Buffer.allocUnsafe(length);
  // A view writes integers several times faster than the methods of a Buffer.
  const view = new DataView(record.buffer, record.byteOffset, length);
  view.setUint32(recordHeaderBytes, chainBefore);
  view.setUint32(recordHeaderBytes + 4, entries.length);
  let at = start;
  for (let position = 0; position < entries.length; position++) {
    const { term, kind } = entries[position] as Entry;
    const body = bodies[position] as Uint8Array;
    view.setUint32(at, Math.floor(term / uint32Range));
    view.setUint32(at + 4, term % uint32Range);
    view.setUint8(at + 8, kinds[kind]);
    view.setUint32(at + 9, body.length);
    record.set(body, at + entryHeaderBytes);
    at += entryHeaderBytes + body.length;
  }
  // The checksum of all entries, gone on from the chain, is what it is entry by entry.
  return { record, chainAfter: crc32(record.subarray(start), chainBefore) };
}

/** The chain after the last of `entries`. */
export function chainBehind(entries: readonly Entry[], chainBefore: number): number {
  return entries.length === 0 ? chainBefore : encodeEntryBlock(entries, chainBefore).chainAfter;
}

/** @throws STORAGE_CORRUPT when the payload does not hold together, which a good checksum makes a bug of the writer */
export function decodeEntryBlock(payload: Buffer, first: LogIndex): DecodedBlock {
  if (payload.length < blockHeaderBytes) throw corrupt(`the log block at ${first} is cut off`);
  const chainBefore = payload.readUInt32BE(0);
  const count = payload.readUInt32BE(4);
  const entries: Entry[] = [];
  const chains: number[] = [];
  const copies = new SharedCopies(payload);
  let chain = chainBefore;
  let at = blockHeaderBytes;
  for (let position = 0; position < count; position++) {
    const from = at;
    if (payload.length < at + entryHeaderBytes) throw corrupt(`the log block at ${first} is cut off`);
    const term = asTerm(readUint64(payload, at));
    const kind = payload.readUInt8(at + 8);
    const length = payload.readUInt32BE(at + 9);
    at += entryHeaderBytes;
    if (payload.length < at + length) throw corrupt(`the log block at ${first} is cut off`);
    const data = copies.body(at, length);
    at += length;
    const index = asLogIndex(first + position);
    if (kind === kinds.normal) entries.push({ term, index, kind: "normal", data });
    else if (kind === kinds.confChange) {
      entries.push({ term, index, kind: "confChange", change: unpack<ConfChange>(data, `entry ${index}`) });
    } else throw corrupt(`entry ${index} has the unknown kind ${kind}`);
    chain = crc32Of(payload, from, at, chain);
    chains.push(chain);
  }
  if (at !== payload.length) throw corrupt(`the log block at ${first} has bytes behind its end`);
  return { chainBefore, entries, chains };
}

/**
 * Copies of the bodies of a block. Views would keep the whole block alive for as long as one of its entries is
 * retained, and a buffer of its own for each body costs more than all else of reading it: so neighbours share one.
 */
class SharedCopies {
  readonly #block: Buffer;
  #copy = new Uint8Array(0);
  #from = 0;

  constructor(block: Buffer) {
    this.#block = block;
  }

  /** The body at `at`; calls go through the block in order. */
  body(at: number, length: number): Uint8Array {
    if (at + length > this.#from + this.#copy.length) {
      this.#copy = new Uint8Array(this.#block.subarray(at, at + Math.max(length, sharedBytes)));
      this.#from = at;
    }
    const start = at - this.#from;
    return this.#copy.subarray(start, start + length);
  }
}

function packChange({ version, transition, changes, context }: ConfChange): Buffer {
  const ops = changes.map(({ op, id }) => ({ op, id }));
  return pack({ version, transition, changes: ops, ...(context === undefined ? {} : { context }) });
}
