/**
 * What is on the volumes of a node, in pieces. One that is imported lies beside the volumes until all of it is there:
 *
 *     volumes/ID.raw.import   as long as what has come of it: it comes in the order of the disk, and goes on at its end
 */
import { constants as fsConstants, mkdir, open, rm, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { abortReason, notApplied, systemErrorCodeOf } from "@blixard/common";
import { renameDurable } from "@blixard/common/system";
import { ContentDigest, contentBlockBytes, isZero } from "../images/disk-content.ts";
import { lookAtVolume } from "./copy-volume.ts";

/** What one call looks through for something that is not zero. */
const scanBytesMax = 64 * 1024 ** 2;
const readBytes = 1024 ** 2;
/** What an import leaves free for the node. */
const spareBytes = 64 * 1024 ** 2;

export interface VolumePiece {
  /** Of the first byte; only zeros lie between this and what was asked for. */
  readonly offset: number;
  readonly data: Uint8Array;
  readonly endOffset: number;
  /** Another one when the volume was written to. */
  readonly version: string;
}

/** The next piece that is not zero. @throws CONFLICT while a VM runs with it */
export async function readVolumePiece(
  path: string,
  { offset, bytesMax }: { readonly offset: number; readonly bytesMax: number },
): Promise<VolumePiece> {
  const { size, ctimeNs } = await lookAtVolume(path, "a VM runs with the volume, and changes it");
  const endOffset = Number(size);
  const version = `${ctimeNs}`;
  const blockBytes = Math.min(contentBlockBytes, bytesMax);
  const file = await open(path, "r");
  try {
    const buffer = new Uint8Array(Math.max(readBytes, bytesMax));
    const untilBytes = Math.min(endOffset, offset + scanBytesMax);
    let at = offset;
    while (at < untilBytes) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, endOffset - at), at);
      if (bytesRead === 0) break;
      const [begin, end] = firstContent(buffer.subarray(0, bytesRead), blockBytes, bytesMax);
      if (end > begin) return { offset: at + begin, data: buffer.slice(begin, end), endOffset, version };
      at += bytesRead;
    }
    return { offset: Math.max(offset, at), data: new Uint8Array(), endOffset, version };
  } finally {
    await file.close();
  }
}

/** Where the first blocks in a row begin that are not zero, and where they end. */
function firstContent(bytes: Uint8Array, blockBytes: number, bytesMax: number): readonly [number, number] {
  const hasContent = (at: number) => at < bytes.length && !isZero(bytes.subarray(at, at + blockBytes));
  let begin = 0;
  while (begin < bytes.length && !hasContent(begin)) begin += blockBytes;
  let end = begin;
  while (end + blockBytes <= begin + bytesMax && hasContent(end)) end += blockBytes;
  return [begin, Math.min(end, bytes.length)];
}

/** The volumes that are being imported to this node. */
export class VolumeImports {
  readonly #finishing = new Map<string, Promise<void>>();
  readonly #writing = new Set<string>();

  /** Takes the next piece into the place of `path`, and resolves with where it goes on. @throws CONFLICT, NO_CAPACITY, VALUE_TOO_LARGE */
  async write(
    path: string,
    { offset, data, sizeBytes }: { readonly offset: number; readonly data: Uint8Array; readonly sizeBytes: number },
  ): Promise<number> {
    if (data.length === 0) return await storedBytesOf(path);
    if (this.#writing.has(path) || this.#finishing.has(path)) {
      throw notApplied("CONFLICT", "this volume is being written to by somebody else", { hint: "Try again." });
    }
    this.#writing.add(path);
    try {
      const stored = await storedBytesOf(path);
      if (offset < stored || offset % contentBlockBytes !== 0) {
        throw notApplied("CONFLICT", `the next byte of this volume is ${stored}, and not ${offset}`);
      }
      if (offset + data.length > sizeBytes) {
        throw notApplied("VALUE_TOO_LARGE", `the volume has ${sizeBytes} bytes, and no more`);
      }
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await assertRoom(dirname(path), data.length);
      const file = await open(importFileOf(path), fsConstants.O_RDWR | fsConstants.O_CREAT, 0o600);
      try {
        for (let at = 0; at < data.length; ) {
          const { bytesWritten } = await file.write(data, at, data.length - at, offset + at);
          at += bytesWritten;
        }
      } finally {
        await file.close();
      }
      return offset + data.length;
    } finally {
      this.#writing.delete(path);
    }
  }

  /**
   * All of it has come: becomes the volume when it is what it was said to be. It goes on when the caller waits no longer, and
   * who asks again waits for the same. @throws INVALID_ARGUMENT
   */
  async finish(
    path: string,
    wanted: { readonly digest: string; readonly sizeBytes: number },
    signal: AbortSignal,
  ): Promise<void> {
    const running = this.#finishing.get(path);
    if (running !== undefined) return await running;
    if (this.#writing.has(path)) throw notApplied("CONFLICT", "a piece of this volume is still on its way");
    const work = finishImport(path, wanted, signal).finally(() => this.#finishing.delete(path));
    this.#finishing.set(path, work);
    await work;
  }
}

export function importFileOf(path: string): string {
  return `${path}.import`;
}

async function storedBytesOf(path: string): Promise<number> {
  try {
    const { size } = await stat(importFileOf(path));
    return size - (size % contentBlockBytes);
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return 0;
    throw error;
  }
}

async function finishImport(
  path: string,
  { digest, sizeBytes }: { readonly digest: string; readonly sizeBytes: number },
  signal: AbortSignal,
): Promise<void> {
  const from = importFileOf(path);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(from, fsConstants.O_RDWR | fsConstants.O_CREAT, 0o600);
  try {
    const content = new ContentDigest();
    const buffer = new Uint8Array(contentBlockBytes);
    for (let offset = 0; ; offset += contentBlockBytes) {
      if (signal.aborted) throw abortReason(signal);
      buffer.fill(0);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
      if (bytesRead === 0) break;
      if (!isZero(buffer)) content.add({ offset, bytes: buffer });
    }
    if (content.hex() !== digest) {
      await rm(from, { force: true });
      throw notApplied("INVALID_ARGUMENT", "what came has another digest than was said: it was changed on its way", {
        hint: "Import it again.",
      });
    }
    await file.truncate(sizeBytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await renameDurable(from, path);
}

/** @throws NO_CAPACITY */
async function assertRoom(directory: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes + spareBytes) return;
  throw notApplied("NO_CAPACITY", `the node has ${freeBytes} bytes free, too few for what is imported`, {
    hint: "The same command goes on when there is room. Or delete the volume.",
  });
}
