/** Bytes that this node holds, a piece at a time. */
export interface OpenBlob {
  readonly sizeBytes: number;
  /** Exactly `length` bytes. @throws NOT_FOUND when the blob ends before */
  read(offset: number, length: number): Promise<Uint8Array>;
}
