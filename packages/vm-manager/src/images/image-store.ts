/**
 * Blobs by their SHA-256.
 *
 *     blobs/DIGEST       complete, verified and durable
 *     partial/DIGEST     what is on its way from other nodes; a transfer goes on with it
 *     partial/up-DIGEST  what is on its way from a client that said its digest; the client goes on with it
 *     partial/put-*      what is on its way from one that did not; removed when it breaks off
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rm, stat, statfs, utimes } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError, messageOf, notApplied, systemErrorCodeOf, Watch } from "@blixard/common";
import { renameDurable } from "@blixard/common/system";
import type { ImageBlob, ImageRecord } from "@blixard/protocol";
import { type OpenBlob, readPiece } from "../open-blob.ts";
import type { BlobPromise, BlobStore, FetchBlob } from "../vm-manager-types.ts";
import { fetchUrl } from "./fetch-url.ts";
import { inspectBlobs } from "./inspect-blobs.ts";
import { receiveBlob } from "./receive-blob.ts";

const digestPattern = /^[0-9a-f]{64}$/;
const keptUpload = "up-";
const freshUpload = "put-";
/** How long a part of an upload waits for the rest. */
const keptUploadMs = 24 * 3_600_000;
const receivedMax = 8;
/** What an upload leaves free for the node, which commits to the same file system. */
const spareBytes = 256 * 1024 ** 2;

/** How much is stored until the room is looked at again. */
const roomCheckBytes = 64 * 1024 ** 2;

export interface ImageStoreDeps {
  readonly fetchBlob: FetchBlob;
}

export class ImageStore implements BlobStore {
  readonly held: Watch<ReadonlySet<string>>;
  readonly #directory: string;
  readonly #deps: ImageStoreDeps;
  /** One transfer per blob, however many VMs wait for it. */
  readonly #fetching = new Map<string, Promise<void>>();
  /** The files that are being received into. */
  readonly #receiving = new Set<string>();
  #nextPut = 0;

  private constructor(directory: string, deps: ImageStoreDeps, held: readonly string[]) {
    this.#directory = directory;
    this.#deps = deps;
    this.held = new Watch<ReadonlySet<string>>(new Set(held));
  }

  /** Makes the directories and removes uploads that were cut off; what goes on where it was is kept. */
  static async open(directory: string, deps: ImageStoreDeps): Promise<ImageStore> {
    await mkdir(join(directory, "blobs"), { recursive: true, mode: 0o700 });
    await mkdir(join(directory, "partial"), { recursive: true, mode: 0o700 });
    const held = (await readdir(join(directory, "blobs"))).filter((name) => digestPattern.test(name));
    const store = new ImageStore(directory, deps, held);
    await store.#removeUploads(keptUploadMs);
    return store;
  }

  async put(chunks: AsyncIterable<Uint8Array>, promise: BlobPromise = {}) {
    const { digest: promised, wholeBytes } = promise;
    if (promised !== undefined && (await this.has(promised))) {
      throw notApplied("CONFLICT", "this blob is here already", { details: { storedBytes: wholeBytes ?? null } });
    }
    const name =
      promised === undefined ? `${freshUpload}${process.pid}-${this.#nextPut++}` : `${keptUpload}${promised}`;
    const path = join(this.#directory, "partial", name);
    if (this.#receiving.has(path)) throw notApplied("CONFLICT", "this blob is being sent already");
    if (this.#receiving.size >= receivedMax) {
      throw notApplied("OVERLOADED", `${receivedMax} blobs are being sent to this node already`);
    }
    this.#receiving.add(path);
    try {
      await this.#assertRoom((wholeBytes ?? 0) - (promise.offset ?? 0));
      const { digest, sizeBytes } = await receiveBlob(path, this.#whileRoom(chunks), promise);
      await this.#add(path, digest);
      return { digest, sizeBytes };
    } finally {
      this.#receiving.delete(path);
    }
  }

  async fetchUrl(url: string, { digest, raw, signal, onProgress }: Parameters<BlobStore["fetchUrl"]>[1]) {
    const wholeBytes = digest === undefined ? undefined : await sizeIfThere(this.pathOf(digest));
    if (digest !== undefined && wholeBytes !== undefined) return { digest, sizeBytes: wholeBytes };
    const { sizeBytes, chunks } = await fetchUrl(url, signal);
    return await this.put(
      countedChunks(chunks, (bytes) => onProgress(bytes, sizeBytes)),
      {
        ...(digest === undefined ? {} : { digest }),
        ...(sizeBytes === undefined ? {} : { wholeBytes: sizeBytes }),
        ...(raw === undefined ? {} : { raw }),
      },
    );
  }

  async has(digest: string): Promise<boolean> {
    return (await sizeIfThere(this.pathOf(digest))) !== undefined;
  }

  async find(digest: string): Promise<OpenBlob | undefined> {
    const path = this.pathOf(digest);
    const sizeBytes = await sizeIfThere(path);
    return sizeBytes === undefined ? undefined : { sizeBytes, read: (...place) => readPiece(path, ...place) };
  }

  async stat(digest: string): Promise<{ readonly isWhole: boolean; readonly storedBytes: number }> {
    const wholeBytes = await sizeIfThere(this.pathOf(digest));
    const partBytes = await sizeIfThere(join(this.#directory, "partial", `${keptUpload}${digest}`));
    return { isWhole: wholeBytes !== undefined, storedBytes: wholeBytes ?? partBytes ?? 0 };
  }

  async inspect(format: ImageRecord["format"], blobs: readonly ImageBlob[]): Promise<ImageBlob[]> {
    const paths = new Map<string, string>();
    for (const { role, digest, sizeBytes } of blobs) {
      const path = this.pathOf(digest);
      const storedBytes = await sizeIfThere(path);
      if (storedBytes === undefined) throw notApplied("NOT_FOUND", `blobs: the blob ${digest} is not on this node`);
      if (storedBytes !== sizeBytes) {
        throw notApplied(
          "INVALID_ARGUMENT",
          `blobs: the blob ${digest} has ${storedBytes} bytes, and not ${sizeBytes}`,
        );
      }
      // It is about to be named: nothing that collects blobs takes it before that.
      const now = new Date();
      await utimes(path, now, now);
      paths.set(role, path);
    }
    return await inspectBlobs(format, blobs, paths);
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

  async collect(
    named: () => ReadonlySet<string>,
    options: { readonly minAgeMs: number; readonly dryRun: boolean; readonly countMax: number },
  ): Promise<{ readonly digest: string; readonly sizeBytes: number }[]> {
    const { minAgeMs, dryRun, countMax } = options;
    const collected: { readonly digest: string; readonly sizeBytes: number }[] = [];
    for (const digest of [...this.held.value].sort()) {
      if (collected.length >= countMax) break;
      const seen = await stat(this.pathOf(digest)).catch(() => undefined);
      // An image may have got its name while the others were looked at.
      if (seen === undefined || Date.now() - seen.mtimeMs < minAgeMs || named().has(digest)) continue;
      if (!dryRun) await rm(this.pathOf(digest), { force: true });
      collected.push({ digest, sizeBytes: seen.size });
    }
    if (dryRun) return collected;
    const gone = new Set(collected.map(({ digest }) => digest));
    if (gone.size > 0) this.held.update((held) => new Set([...held].filter((digest) => !gone.has(digest))));
    await this.#removeUploads(Math.max(minAgeMs, 1));
    return collected;
  }

  async #fetch(blob: ImageBlob, sources: readonly number[], signal: AbortSignal): Promise<void> {
    const partial = join(this.#directory, "partial", blob.digest);
    const { digest, sizeBytes } = blob;
    await this.#assertRoom(sizeBytes - ((await sizeIfThere(partial)) ?? 0));
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
    await this.#add(partial, digest);
  }

  async #add(path: string, digest: string): Promise<void> {
    await renameDurable(path, this.pathOf(digest));
    if (!this.held.value.has(digest)) this.held.update((held) => new Set([...held, digest]));
  }

  /** The sender need not say how much comes. */
  async *#whileRoom(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    let uncheckedBytes = 0;
    for await (const chunk of chunks) {
      uncheckedBytes += chunk.length;
      if (uncheckedBytes > roomCheckBytes) {
        await this.#assertRoom(uncheckedBytes);
        uncheckedBytes = 0;
      }
      yield chunk;
    }
  }

  /** @throws NO_CAPACITY */
  async #assertRoom(neededBytes: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.#directory);
    const freeBytes = bavail * bsize;
    if (neededBytes <= 0 || freeBytes >= neededBytes + spareBytes) return;
    throw notApplied("NO_CAPACITY", `the node has ${freeBytes} bytes free, and the image needs ${neededBytes} more`, {
      hint: "See: blixard image gc",
    });
  }

  /** Removes parts of uploads that nobody goes on with. */
  async #removeUploads(keptMs: number): Promise<void> {
    const directory = join(this.#directory, "partial");
    for (const name of await readdir(directory)) {
      const path = join(directory, name);
      if (this.#receiving.has(path) || !(name.startsWith(keptUpload) || name.startsWith(freshUpload))) continue;
      const seen = await stat(path).catch(() => undefined);
      const isOld = seen === undefined || Date.now() - seen.mtimeMs >= keptMs;
      if (isOld || name.startsWith(freshUpload)) await rm(path, { force: true });
    }
  }
}

async function* countedChunks(chunks: AsyncIterable<Uint8Array>, onProgress: (bytes: number) => void) {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    onProgress(bytes);
    yield chunk;
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
