/** Bytes that are read in places: a file, or a part of one, such as the disk in an OVA. */
import { type FileHandle, constants as fsConstants, open } from "node:fs/promises";
import { BlixardError, reasonOf } from "@blixard/common";

export interface ByteSource {
  readonly sizeBytes: number;
  /** Exactly `length` bytes. @throws INVALID_ARGUMENT when it ends before */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Refuses an image, and says why in words that end the sentence. */
export function refuseImage(reason: string, cause?: unknown): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", `the image is refused: ${reason}`, { cause });
}

/** The first bytes, fewer where there are not so many. */
export async function headOf(source: ByteSource, lengthMax: number): Promise<Uint8Array> {
  return await source.read(0, Math.min(lengthMax, source.sizeBytes));
}

/** A part of a source as a source of its own. */
export function partOf(source: ByteSource, offset: number, sizeBytes: number): ByteSource {
  return {
    sizeBytes,
    read: async (at, length) => {
      if (at < 0 || at + length > sizeBytes) throw refuseImage("it ends before it should; it may be cut off");
      return await source.read(offset + at, length);
    },
  };
}

/** All of it from `offset` on, in pieces. */
export async function* piecesOf(source: ByteSource, offset = 0, pieceBytes = 1024 * 1024): AsyncIterable<Uint8Array> {
  for (let at = offset; at < source.sizeBytes; at += pieceBytes) {
    yield await source.read(at, Math.min(pieceBytes, source.sizeBytes - at));
  }
}

/** A file that is open. What it holds may change while it is read: `assertUnchanged` says so. */
export class FileSource implements ByteSource, AsyncDisposable {
  readonly sizeBytes: number;
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #seen: string;

  private constructor(path: string, file: FileHandle, seen: { readonly sizeBytes: number; readonly text: string }) {
    this.#path = path;
    this.#file = file;
    this.sizeBytes = seen.sizeBytes;
    this.#seen = seen.text;
  }

  /** Follows links. Waits for nobody: a pipe without a writer is refused too. @throws INVALID_ARGUMENT for what is no file */
  static async open(path: string): Promise<FileSource> {
    let file: FileHandle | undefined;
    try {
      file = await open(path, fsConstants.O_RDONLY | fsConstants.O_NONBLOCK | fsConstants.O_NOCTTY);
      return new FileSource(path, file, await stateOf(file));
    } catch (error) {
      await file?.close();
      throw new BlixardError("INVALID_ARGUMENT", `${path} cannot be read: ${reasonOf(error)}`, {
        cause: error,
        hint: "Give the path of a regular file that this user may read.",
      });
    }
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const { bytesRead } = await this.#file.read(bytes, at, length - at, offset + at);
      if (bytesRead === 0) throw refuseImage("it ends before it should; it may be cut off");
      at += bytesRead;
    }
    return bytes;
  }

  /** @throws INVALID_ARGUMENT when it was written to since it was opened */
  async assertUnchanged(): Promise<void> {
    const { text } = await stateOf(this.#file);
    if (text === this.#seen) return;
    throw new BlixardError("INVALID_ARGUMENT", `${this.#path} was changed while it was read`, {
      hint: "Stop what writes to it, or import a copy.",
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

async function stateOf(file: FileHandle): Promise<{ readonly sizeBytes: number; readonly text: string }> {
  const stats = await file.stat({ bigint: true });
  if (!stats.isFile()) throw new Error(`it is ${stats.isDirectory() ? "a directory" : "no regular file"}`);
  const { size, mtimeNs, ctimeNs, ino, dev } = stats;
  return { sizeBytes: Number(size), text: `${dev}/${ino}/${size}/${mtimeNs}/${ctimeNs}` };
}
