/** Blobs by their SHA-256: `blobs/<digest>` is complete, verified and durable; `partial/` holds what is on its way. */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError, messageOf, systemErrorCodeOf } from "@blixard/common";
import { renameDurable } from "@blixard/common/system";
import { type ImageBlob, limits } from "@blixard/protocol";
import type { FetchBlob, OpenBlob } from "../vm-manager-types.ts";

const digestPattern = /^[0-9a-f]{64}$/;

export interface ImageStoreDeps {
  readonly fetchBlob: FetchBlob;
}

export class ImageStore {
  readonly #directory: string;
  readonly #deps: ImageStoreDeps;
  /** One transfer per blob, however many VMs wait for it. */
  readonly #fetching = new Map<string, Promise<void>>();

  private constructor(directory: string, deps: ImageStoreDeps) {
    this.#directory = directory;
    this.#deps = deps;
  }

  /** Makes the directories and removes uploads that were cut off; fetches are kept, since they go on where they were. */
  static async open(directory: string, deps: ImageStoreDeps): Promise<ImageStore> {
    await mkdir(join(directory, "blobs"), { recursive: true, mode: 0o700 });
    await mkdir(join(directory, "partial"), { recursive: true, mode: 0o700 });
    for (const entry of await readdir(join(directory, "partial"))) {
      if (entry.startsWith("put-")) await rm(join(directory, "partial", entry), { force: true });
    }
    return new ImageStore(directory, deps);
  }

  async put(chunks: AsyncIterable<Uint8Array>): Promise<{ readonly digest: string; readonly sizeBytes: number }> {
    const temporary = join(this.#directory, "partial", `put-${randomUUID()}`);
    const file = await open(temporary, "wx", 0o600);
    const hash = createHash("sha256");
    let sizeBytes = 0;
    try {
      for await (const chunk of chunks) {
        sizeBytes += chunk.length;
        if (sizeBytes > limits.imageBlobBytesMax) {
          throw new BlixardError("VALUE_TOO_LARGE", `an image has at most ${limits.imageBlobBytesMax} bytes`);
        }
        hash.update(chunk);
        await writeWhole(file, chunk);
      }
      if (sizeBytes === 0) throw new BlixardError("INVALID_ARGUMENT", "an image must not be empty");
      await file.sync();
      await file.close();
      const digest = hash.digest("hex");
      await renameDurable(temporary, this.pathOf(digest));
      return { digest, sizeBytes };
    } catch (error) {
      await file.close().catch(() => {});
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async has(digest: string): Promise<boolean> {
    return (await sizeIfThere(this.pathOf(digest))) !== undefined;
  }

  async find(digest: string): Promise<OpenBlob | undefined> {
    const path = this.pathOf(digest);
    const sizeBytes = await sizeIfThere(path);
    return sizeBytes === undefined ? undefined : { sizeBytes, read: (...place) => readWhole(path, ...place) };
  }

  /** @throws INVALID_ARGUMENT for anything but a digest, since it becomes a file name. */
  pathOf(digest: string): string {
    if (!digestPattern.test(digest)) throw new BlixardError("INVALID_ARGUMENT", "not a SHA-256 digest");
    return join(this.#directory, "blobs", digest);
  }

  /**
   * Makes sure that the blob is here, and resolves with its path.
   * @throws UNAVAILABLE when no source gives it, STORAGE_CORRUPT when what came has another digest
   */
  async ensure(blob: ImageBlob, sources: readonly number[], signal: AbortSignal): Promise<string> {
    while (!(await this.has(blob.digest))) {
      signal.throwIfAborted();
      const running = this.#fetching.get(blob.digest);
      if (running !== undefined) {
        // Another VM's fetch may be cancelled with that VM; then this one looks again and fetches itself.
        await running.catch(() => {});
        continue;
      }
      const fetching = this.#fetch(blob, sources, signal).finally(() => this.#fetching.delete(blob.digest));
      this.#fetching.set(blob.digest, fetching);
      await fetching;
    }
    return this.pathOf(blob.digest);
  }

  async #fetch(blob: ImageBlob, sources: readonly number[], signal: AbortSignal): Promise<void> {
    const partial = join(this.#directory, "partial", blob.digest);
    const { digest, sizeBytes } = blob;
    for (let left = sources; ; ) {
      const fetched = await this.#deps
        .fetchBlob({ digest, sizeBytes, sources: left }, partial, signal)
        .catch((error: unknown) => {
          signal.throwIfAborted();
          const message = `blob ${digest} cannot be fetched: ${messageOf(error)}`;
          throw new BlixardError("UNAVAILABLE", message, { cause: error });
        });
      if ((await digestOf(partial)) === digest) break;
      fetched.reportBadSources();
      await rm(partial, { force: true });
      left = left.filter((source) => !fetched.sources.includes(source));
      if (left.length === 0 || fetched.sources.length === 0) {
        throw new BlixardError("STORAGE_CORRUPT", `the bytes that came for blob ${digest} have another digest`);
      }
    }
    await renameDurable(partial, this.pathOf(digest));
  }
}

async function writeWhole(file: FileHandle, data: Uint8Array): Promise<void> {
  let at = 0;
  while (at < data.length) {
    const { bytesWritten } = await file.write(data, at, data.length - at);
    at += bytesWritten;
  }
}

async function readWhole(path: string, offset: number, length: number): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const { bytesRead } = await file.read(bytes, at, length - at, offset + at);
      if (bytesRead === 0) throw new BlixardError("NOT_FOUND", "the blob ends before these bytes");
      at += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

async function sizeIfThere(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}
