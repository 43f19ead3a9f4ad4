import { open } from "node:fs/promises";
import { BlixardError } from "@blixard/common";

/** Bytes that this node holds, a piece at a time. */
export interface OpenBlob {
  readonly sizeBytes: number;
  /** Exactly `length` bytes. @throws NOT_FOUND when the blob ends before */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Exactly `length` bytes of a file. @throws NOT_FOUND when it ends before */
export async function readPiece(path: string, offset: number, length: number): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const { bytesRead } = await file.read(bytes, at, length - at, offset + at);
      if (bytesRead === 0) throw new BlixardError("NOT_FOUND", "the file ends before these bytes");
      at += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}
