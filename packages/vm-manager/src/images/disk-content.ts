/**
 * What is on a disk, whatever format it comes in, as blocks with their places: those that hold nothing but zeros are left out.
 * Its digest is that of these blocks, so that it is the same for a disk as a file and for the volume that is made of it.
 */
import { createHash } from "node:crypto";
import type { ByteSource } from "./byte-source.ts";
import { type DiskSourceFormat, openParts } from "./importable-disk.ts";
import type { DiskParts } from "./qcow2-stream.ts";

export const contentBlockBytes = 64 * 1024;

interface ContentBlock {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface DiskContent {
  readonly virtualBytes: number;
  /** From `offset` on, which is the beginning of a block; the last one is filled up with zeros. */
  blocks(offset: number): AsyncIterable<ContentBlock>;
}

/** Inspects it, as an image is. `declared`: what it is said to be; default what it shows itself. @throws INVALID_ARGUMENT */
export async function openContent(
  source: ByteSource,
  declared?: DiskSourceFormat,
  signal?: AbortSignal,
): Promise<DiskContent> {
  const parts = await openParts(source, declared, signal);
  const { virtualBytes } = parts;
  return { virtualBytes, blocks: (offset) => blocksOf(parts, offset) };
}

async function* blocksOf(parts: DiskParts, from: number): AsyncIterable<ContentBlock> {
  const { virtualBytes, clusterBytes, clusters } = parts;
  const reader = new PartReader(parts);
  let place = clusters.findIndex((cluster) => (cluster + 1) * clusterBytes > from);
  let offset = from;
  while (place >= 0 && place < clusters.length) {
    const begin = (clusters[place] ?? 0) * clusterBytes;
    offset = Math.max(offset, begin - (begin % contentBlockBytes));
    const bytes = await reader.read(place, offset, Math.min(contentBlockBytes, virtualBytes - offset));
    if (!isZero(bytes)) yield { offset, bytes };
    offset += contentBlockBytes;
    while (place < clusters.length && ((clusters[place] ?? 0) + 1) * clusterBytes <= offset) place++;
  }
}

/** Reads blocks that may be smaller or larger than the parts that they lie in, each of which is unpacked once. */
class PartReader {
  readonly #parts: DiskParts;
  #kept: { readonly place: number; readonly bytes: Uint8Array } | undefined;

  constructor(parts: DiskParts) {
    this.#parts = parts;
  }

  /** One block from `offset` on, of which no more than `length` bytes are read; `place`: of its first part with content. */
  async read(place: number, offset: number, length: number): Promise<Uint8Array> {
    const { clusterBytes, clusters } = this.#parts;
    const block = new Uint8Array(contentBlockBytes);
    for (let at = place; at < clusters.length; at++) {
      const begin = (clusters[at] ?? 0) * clusterBytes;
      if (begin >= offset + length) break;
      const bytes = await this.#part(at);
      const from = Math.max(0, offset - begin);
      block.set(bytes.subarray(from, Math.min(clusterBytes, offset + length - begin)), Math.max(0, begin - offset));
    }
    return block;
  }

  async #part(place: number): Promise<Uint8Array> {
    if (this.#kept?.place !== place) this.#kept = { place, bytes: await this.#parts.read(place) };
    return this.#kept.bytes;
  }
}

/** The digest of blocks, in the order of their places. */
export class ContentDigest {
  readonly #hash = createHash("sha256");

  add({ offset, bytes }: ContentBlock): void {
    const place = new Uint8Array(8);
    new DataView(place.buffer).setBigUint64(0, BigInt(offset));
    this.#hash.update(place).update(bytes);
  }

  hex(): string {
    return this.#hash.digest("hex");
  }
}

const zeros = Buffer.alloc(contentBlockBytes);

export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += zeros.length) {
    const part = bytes.subarray(at, at + zeros.length);
    if (Buffer.compare(part, zeros.subarray(0, part.length)) !== 0) return false;
  }
  return true;
}
