/**
 * The file that a transfer fills, chunk by chunk in any order. It needs no list of what it holds: the chunks on the disk
 * are hashed again when a transfer goes on, so that a crash at any moment, and a damaged file, cost only their chunks.
 */
import { type FileHandle, open } from "node:fs/promises";
import { isChunk, type Manifest, placeOf } from "./manifest.ts";

export class PartialFile {
  readonly #file: FileHandle;
  readonly #manifest: Manifest;

  private constructor(file: FileHandle, manifest: Manifest) {
    this.#file = file;
    this.#manifest = manifest;
  }

  /** `sparse`: it has its whole length from the start, so that what it lacks is zero, as much of the object may be. */
  static async open(path: string, manifest: Manifest, { sparse }: { readonly sparse: boolean }): Promise<PartialFile> {
    const file = await open(path, "r+").catch(() => open(path, "wx+", 0o600));
    const { size } = await file.stat();
    if (size > manifest.sizeBytes || (sparse && size < manifest.sizeBytes)) await file.truncate(manifest.sizeBytes);
    return new PartialFile(file, manifest);
  }

  /** The chunks that are not there, or not right. */
  async missing(signal: AbortSignal): Promise<number[]> {
    const missing: number[] = [];
    const { size } = await this.#file.stat();
    for (let index = 0; index < this.#manifest.chunkCount; index++) {
      signal.throwIfAborted();
      const { offset, length } = placeOf(this.#manifest, index);
      const held = offset + length <= size && isChunk(this.#manifest, index, await this.#read(offset, length));
      if (!held) missing.push(index);
    }
    return missing;
  }

  async write(index: number, bytes: Uint8Array): Promise<void> {
    const { offset } = placeOf(this.#manifest, index);
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at, offset + at);
      at += bytesWritten;
    }
  }

  async sync(): Promise<void> {
    await this.#file.sync();
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const { bytesRead } = await this.#file.read(bytes, at, length - at, offset + at);
      if (bytesRead === 0) return bytes.subarray(0, at);
      at += bytesRead;
    }
    return bytes;
  }
}
