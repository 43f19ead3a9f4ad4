/**
 * Blobs that come in over the RPC lane, in pieces and in order, into the image store of this node. A piece is answered
 * when the store has taken it, so that memory stays bounded; an upload that stands still is given up.
 */
import { type BlixardError, type Clock, type ErrorCode, notApplied, type Timer } from "@blixard/common";
import type { ParsedRequestOf, ResponseOf } from "@blixard/protocol";

export const blobUploadLimits = { uploadsMax: 8, idleMsMax: 30_000 } as const;

type Store = (
  chunks: AsyncIterable<Uint8Array>,
  promise: Pick<Piece, "digest" | "offset" | "raw"> & { readonly wholeBytes?: number },
) => Promise<{ readonly digest: string; readonly sizeBytes: number }>;
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
   * Takes the next piece of an upload of `owner`; the first one opens it, at offset 0 or, where it says the digest of the
   * whole, where the store ends that has a part already; and the last one, which may be empty, ends it. @throws CONFLICT for a piece that does not follow, OVERLOADED, what the store refuses with
   */
  async write(owner: string, piece: Piece): Promise<Omit<ResponseOf<"blob.write">, "nodeId">> {
    const { uploadId, offset, data, last } = piece;
    const key = `${owner}/${uploadId}`;
    const upload = this.#uploads.get(key) ?? this.#open(key, piece);
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

  #open(key: string, { offset, digest, sizeBytes, raw }: Piece): Upload {
    if (offset !== 0 && digest === undefined)
      throw refused("NOT_FOUND", "this upload is not known here, or not any more");
    if (this.#uploads.size >= blobUploadLimits.uploadsMax) {
      throw refused("OVERLOADED", `${this.#uploads.size} uploads run on this node already`);
    }
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const stored = this.#store(readable as unknown as AsyncIterable<Uint8Array>, {
      offset,
      ...(digest === undefined ? {} : { digest }),
      ...(sizeBytes === undefined ? {} : { wholeBytes: sizeBytes }),
      ...(raw === undefined ? {} : { raw }),
    });
    stored.catch(() => {});
    const upload: Upload = { writer: writable.getWriter(), stored, sizeBytes: offset, busy: false, idle: undefined };
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
