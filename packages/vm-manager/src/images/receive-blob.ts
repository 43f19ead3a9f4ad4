/** Receives one blob into a file: looks at its head before more of it is stored, and at all of it before it is taken. */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { BlixardError, errorCodeOf, notApplied } from "@blixard/common";
import { limits } from "@blixard/protocol";
import type { BlobPromise } from "../vm-manager-types.ts";
import { FileSource } from "./byte-source.ts";
import { imageLimits } from "./image-limits.ts";
import { inspectHead, inspectReceived } from "./inspect-blobs.ts";

/**
 * Resolves when all of it is in the file and durable. When it breaks off, the file stays if the digest was promised; when
 * it is refused, it goes. @throws INVALID_ARGUMENT, VALUE_TOO_LARGE, CONFLICT, and what the chunks throw
 */
export async function receiveBlob(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  promise: BlobPromise,
): Promise<{ readonly digest: string; readonly sizeBytes: number }> {
  const { digest: promised, offset = 0, wholeBytes = limits.imageBlobBytesMax, raw = false } = promise;
  const file = await open(path, promised === undefined ? "wx+" : "a+", 0o600);
  try {
    const { hash, head } = await goOn(file, offset);
    let sizeBytes = offset;
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      if (sizeBytes > Math.min(wholeBytes, limits.imageBlobBytesMax)) {
        throw new BlixardError(
          "VALUE_TOO_LARGE",
          `more than ${Math.min(wholeBytes, limits.imageBlobBytesMax)} bytes came`,
        );
      }
      head.add(chunk);
      if (head.isFull) inspectHead(head.bytes, { raw });
      hash.update(chunk);
      await writeWhole(file, chunk);
    }
    if (sizeBytes === 0) throw new BlixardError("INVALID_ARGUMENT", "an image must not be empty");
    inspectHead(head.bytes, { raw });
    const digest = hash.digest("hex");
    if (promised !== undefined && digest !== promised) {
      throw notApplied(
        "INVALID_ARGUMENT",
        "what came has another digest than was said: it was changed while it was sent",
      );
    }
    await file.sync();
    await using source = await FileSource.open(path);
    await inspectReceived(source, { raw });
    return { digest, sizeBytes };
  } catch (error) {
    const refused = ["INVALID_ARGUMENT", "VALUE_TOO_LARGE"].includes(errorCodeOf(error) ?? "");
    if (promised === undefined || refused) await rm(path, { force: true });
    throw error;
  } finally {
    await file.close().catch(() => {});
  }
}

/** Hashes what is there up to `offset`, and cuts off the rest. @throws CONFLICT when it is less */
async function goOn(file: FileHandle, offset: number): Promise<{ readonly hash: Hash; readonly head: Head }> {
  const { size } = await file.stat();
  if (size < offset) {
    throw notApplied("CONFLICT", `the next byte of this blob is ${size}, and not ${offset}`, {
      details: { storedBytes: size },
    });
  }
  if (size > offset) await file.truncate(offset);
  const hash = createHash("sha256");
  const head = new Head();
  const buffer = new Uint8Array(1024 * 1024);
  for (let at = 0; at < offset; ) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, offset - at), at);
    if (bytesRead === 0) throw notApplied("CONFLICT", "what was here of this blob is gone");
    const bytes = buffer.subarray(0, bytesRead);
    hash.update(bytes);
    head.add(bytes);
    at += bytesRead;
  }
  return { hash, head };
}

/** The first bytes, as far as a signature of any format can lie in them. */
class Head {
  readonly #bytes = new Uint8Array(imageLimits.headBytes);
  #length = 0;
  #wasFull = false;

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** True once: when the last byte of it has come. */
  get isFull(): boolean {
    if (this.#wasFull || this.#length < this.#bytes.length) return false;
    this.#wasFull = true;
    return true;
  }

  add(chunk: Uint8Array): void {
    const part = chunk.subarray(0, this.#bytes.length - this.#length);
    this.#bytes.set(part, this.#length);
    this.#length += part.length;
  }
}

async function writeWhole(file: FileHandle, data: Uint8Array): Promise<void> {
  let at = 0;
  while (at < data.length) {
    const { bytesWritten } = await file.write(data, at, data.length - at);
    at += bytesWritten;
  }
}
