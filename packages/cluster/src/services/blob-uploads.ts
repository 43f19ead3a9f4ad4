/**
 * Blobs that come in over the RPC lane, in pieces and in order, into the image store of this node. A piece is answered
 * when the store has taken it, so that memory stays bounded; an upload that stands still is given up.
 */
import { type BlixardError, type Clock, type ErrorCode, notApplied, type Timer } from "@blixard/common";
import type { ParsedRequestOf, ResponseOf } from "@blixard/protocol";

export const blobUploadLimits = { uploadsMax: 8, idleMsMax: 30_000 } as const;

type Store = (chunks: AsyncIterable<Uint8Array>) => Promise<{ readonly digest: string; readonly sizeBytes: number }>;
type Piece = ParsedRequestOf<"blob.write">;

interface Upload {
  readonly writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly stored: ReturnType<Store>;
  sizeBytes: number;
  busy: boolean;
  idle: Timer | undefined;
}

export class BlobUploads {
  readonly #clock: Clock;
  readonly #store: Store;
  readonly #uploads = new Map<string, Upload>();

  constructor(clock: Clock, store: Store) {
    this.#clock = clock;
    this.#store = store;
  }

  /**
   * Takes the next piece of an upload of `owner`; the first one, at offset 0, opens it, and the last one, which may be
   * empty, ends it. @throws CONFLICT for a piece that does not follow, OVERLOADED, what the store refuses with
   */
  async write(
    owner: string,
    { uploadId, offset, data, last }: Piece,
  ): Promise<Omit<ResponseOf<"blob.write">, "nodeId">> {
    const key = `${owner}/${uploadId}`;
    const upload = this.#uploads.get(key) ?? this.#open(key, offset);
    if (upload.busy || upload.sizeBytes !== offset) {
      throw refused("CONFLICT", `the next byte of this upload is ${upload.sizeBytes}, and not ${offset}`);
    }
    upload.busy = true;
    upload.idle?.cancel();
    try {
      if (data.length > 0) await Promise.race([upload.writer.write(data), upload.stored]);
      upload.sizeBytes += data.length;
      if (!last) {
        upload.idle = this.#clock.setTimer(blobUploadLimits.idleMsMax, () => this.#abandon(key, upload));
        return { digest: null, sizeBytes: upload.sizeBytes };
      }
      this.#uploads.delete(key);
      // The error of the store says what went wrong; that of the stream only follows from it.
      upload.writer.close().catch(() => {});
      return await upload.stored;
    } catch (error) {
      this.#abandon(key, upload);
      throw error;
    } finally {
      upload.busy = false;
    }
  }

  #open(key: string, offset: number): Upload {
    if (offset !== 0) throw refused("NOT_FOUND", "this upload is not known here, or not any more");
    if (this.#uploads.size >= blobUploadLimits.uploadsMax) {
      throw refused("OVERLOADED", `${this.#uploads.size} uploads run on this node already`);
    }
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const stored = this.#store(readable as unknown as AsyncIterable<Uint8Array>);
    stored.catch(() => {});
    const upload: Upload = { writer: writable.getWriter(), stored, sizeBytes: 0, busy: false, idle: undefined };
    upload.writer.closed.catch(() => {});
    this.#uploads.set(key, upload);
    return upload;
  }

  #abandon(key: string, upload: Upload): void {
    this.#uploads.delete(key);
    upload.writer.abort(refused("CANCELLED", "the upload was given up")).catch(() => {});
  }
}

function refused(code: ErrorCode, message: string): BlixardError {
  return notApplied(code, message, { hint: "Start the upload again." });
}
