/**
 * The manifest of an object: `"BLXM", version 1, chunk bytes u32, object bytes u64` (big endian), then the SHA-256 of
 * each chunk. All chunks have the same length but the last, which may be shorter. The SHA-256 of the manifest is the
 * content id: a receiver that knows it can check every chunk, from any source.
 */
import { hash } from "node:crypto";
import { BlixardError, toHex } from "@blixard/common";
import { bulkLimits } from "./bulk-limits.ts";
import type { BulkObject } from "./bulk-types.ts";

export interface Manifest {
  readonly contentId: string;
  readonly bytes: Uint8Array;
  readonly sizeBytes: number;
  readonly chunkBytes: number;
  readonly chunkCount: number;
}

export interface ChunkPlace {
  readonly offset: number;
  readonly length: number;
}

const magic = [0x42, 0x4c, 0x58, 0x4d];
const version = 1;
const headerBytes = 17;
const hashBytes = 32;

/** On the event loop, where a chunk takes 0.7 ms: the thread pool copies it first, which costs more than half of that. */
function sha256(bytes: Uint8Array): Uint8Array {
  return hash("sha256", bytes, "buffer");
}

const zeros = new Uint8Array(bulkLimits.chunkBytesMax);
/** The hashes of zeros, by their number: a sparse disk has almost nothing else. */
const zeroHashes = new Map<number, Uint8Array>();

function hashOfChunk(bytes: Uint8Array): Uint8Array {
  const isWhole = bytes.length === bulkLimits.chunkBytes || bytes.length === bulkLimits.chunkBytesMax;
  if (!isWhole || Buffer.compare(bytes, zeros.subarray(0, bytes.length)) !== 0) return sha256(bytes);
  const known = zeroHashes.get(bytes.length) ?? sha256(bytes);
  zeroHashes.set(bytes.length, known);
  return known;
}

/** A manifest counts so many chunks: of a large object each of them is larger. */
function chunkBytesOf({ sizeBytes }: BulkObject): number {
  return sizeBytes <= bulkLimits.chunksMax * bulkLimits.chunkBytes ? bulkLimits.chunkBytes : bulkLimits.chunkBytesMax;
}

/** Reads the whole object once, a chunk at a time. */
export async function makeManifest(
  object: BulkObject,
  options: { readonly chunkBytes?: number; readonly signal?: AbortSignal } = {},
): Promise<Manifest> {
  const { chunkBytes = chunkBytesOf(object), signal } = options;
  const { sizeBytes } = object;
  const chunkCount = Math.ceil(sizeBytes / chunkBytes);
  const bytes = new Uint8Array(headerBytes + hashBytes * chunkCount);
  if (bytes.length > bulkLimits.manifestBytesMax) {
    throw new BlixardError("VALUE_TOO_LARGE", `an object of ${sizeBytes} bytes is too large for the bulk lane`);
  }
  const view = new DataView(bytes.buffer);
  bytes.set(magic);
  view.setUint8(4, version);
  view.setUint32(5, chunkBytes);
  view.setBigUint64(9, BigInt(sizeBytes));
  for (let index = 0; index < chunkCount; index++) {
    signal?.throwIfAborted();
    const { offset, length } = placeOf({ sizeBytes, chunkBytes }, index);
    bytes.set(hashOfChunk(await object.read(offset, length)), headerBytes + hashBytes * index);
  }
  return { contentId: toHex(sha256(bytes)), bytes, sizeBytes, chunkBytes, chunkCount };
}

/** @throws FRAME_CORRUPT, VALUE_TOO_LARGE */
export function readManifest(bytes: Uint8Array, sizeBytesMax: number): Manifest {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const known = bytes.length >= headerBytes && magic.every((byte, at) => bytes[at] === byte) && bytes[4] === version;
  if (!known) throw new BlixardError("FRAME_CORRUPT", "what came is no manifest that this release knows");
  const chunkBytes = view.getUint32(5);
  const sizeBytes = Number(view.getBigUint64(9));
  if (chunkBytes === 0 || chunkBytes > bulkLimits.chunkBytesMax || !Number.isSafeInteger(sizeBytes)) {
    throw new BlixardError("FRAME_CORRUPT", "a manifest with impossible sizes");
  }
  if (sizeBytes > sizeBytesMax) {
    throw new BlixardError("VALUE_TOO_LARGE", `a manifest of ${sizeBytes} bytes, where ${sizeBytesMax} are allowed`);
  }
  const chunkCount = Math.ceil(sizeBytes / chunkBytes);
  if (bytes.length !== headerBytes + hashBytes * chunkCount) {
    throw new BlixardError("FRAME_CORRUPT", "a manifest whose length does not fit its sizes");
  }
  return { contentId: toHex(sha256(bytes)), bytes, sizeBytes, chunkBytes, chunkCount };
}

export function placeOf(sizes: Pick<Manifest, "sizeBytes" | "chunkBytes">, index: number): ChunkPlace {
  const offset = index * sizes.chunkBytes;
  return { offset, length: Math.min(sizes.chunkBytes, sizes.sizeBytes - offset) };
}

/** Whether these bytes are chunk `index`. */
export function isChunk(manifest: Manifest, index: number, bytes: Uint8Array): boolean {
  if (bytes.length !== placeOf(manifest, index).length) return false;
  const at = headerBytes + hashBytes * index;
  return Buffer.compare(hashOfChunk(bytes), manifest.bytes.subarray(at, at + hashBytes)) === 0;
}
