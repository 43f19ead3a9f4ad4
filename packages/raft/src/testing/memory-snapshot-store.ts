/** Keeps the newest snapshot; survives `close`, but not its process. */
import { abortReason, BlixardError, concatBytes } from "@blixard/common";
import type { LogIndex } from "../core/types.ts";
import type { SnapshotMeta, SnapshotStore } from "../ports.ts";

export class MemorySnapshotStore implements SnapshotStore {
  #newest: { readonly meta: SnapshotMeta; readonly bytes: Uint8Array } | undefined;

  async latest(): Promise<SnapshotMeta | undefined> {
    return this.#newest?.meta;
  }

  async save(
    meta: Omit<SnapshotMeta, "sizeBytes">,
    chunks: AsyncIterable<Uint8Array>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<SnapshotMeta> {
    this.#refuseOlder(meta.index);
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) {
      if (options.signal?.aborted) throw abortReason(options.signal);
      parts.push(new Uint8Array(chunk));
    }
    if (options.signal?.aborted) throw abortReason(options.signal);
    this.#refuseOlder(meta.index);
    const bytes = concatBytes(parts);
    const { index, term, confState } = meta;
    this.#newest = { meta: { index, term, confState, sizeBytes: bytes.length }, bytes };
    return this.#newest.meta;
  }

  #refuseOlder(index: LogIndex): void {
    if (this.#newest === undefined || this.#newest.meta.index <= index) return;
    throw new BlixardError("CONFLICT", `a snapshot at ${this.#newest.meta.index} replaces the one at ${index}`);
  }

  async read(index: LogIndex, offset: number, bytesMax: number): Promise<Uint8Array> {
    if (this.#newest?.meta.index !== index) {
      throw new BlixardError("NOT_FOUND", `there is no snapshot at ${index} any more`);
    }
    return this.#newest.bytes.slice(offset, offset + bytesMax);
  }

  async close(): Promise<void> {}
}
