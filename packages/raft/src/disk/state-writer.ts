/**
 * Writes the state behind the answers. What was applied since the last write goes to the disk together, once a tick, or
 * earlier when there is much of it; and where the disk is slower than that, nothing more is applied until it has caught up.
 */
import type { StateBacklog } from "../ports.ts";
import type { DiskWork } from "./disk-watch.ts";

export interface StateWriterDeps {
  /** Absent where `apply` stores what it applies. */
  readonly backlog: StateBacklog | undefined;
  readonly writes: DiskWork;
  readonly onError: (error: unknown) => void;
}

export class StateWriter {
  readonly #deps: StateWriterDeps;
  readonly #bytesMax: number;
  #writing: Promise<void> | undefined;
  /** Whether something was applied since the last write began. */
  #isBehind = false;
  #failure: { readonly error: unknown } | undefined;

  /** Up to `bytesMax` bytes, and those of one batch of entries, are applied and not stored. */
  constructor(deps: StateWriterDeps, bytesMax: number) {
    this.#deps = deps;
    this.#bytesMax = bytesMax;
  }

  /** True when {@link waitForRoom} would wait. */
  get isFull(): boolean {
    return this.#bytes >= this.#bytesMax || this.#failure !== undefined;
  }

  get #bytes(): number {
    return this.#deps.backlog?.bytes ?? 0;
  }

  /** Resolves when another batch may be applied. Rejects when the state cannot be written. */
  async waitForRoom(): Promise<void> {
    while (this.isFull) {
      if (this.#failure !== undefined) throw this.#failure.error;
      await this.#write();
    }
  }

  /** A batch was applied. */
  applied(): void {
    if (this.#deps.backlog === undefined) return;
    this.#isBehind = true;
    if (this.#writing === undefined && this.#bytes >= this.#bytesMax / 2) void this.#write();
  }

  tick(): void {
    if (this.#isBehind && this.#writing === undefined) void this.#write();
  }

  /** Resolves when the write under way, or else a new one, has ended, well or not. */
  #write(): Promise<void> {
    this.#writing ??= this.#store().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #store(): Promise<void> {
    const { backlog, writes, onError } = this.#deps;
    if (backlog === undefined || this.#failure !== undefined) return;
    this.#isBehind = false;
    try {
      await writes.run(() => backlog.store());
    } catch (error) {
      this.#failure = { error };
      onError(error);
    }
  }

  /** Resolves when no write is under way. */
  async idle(): Promise<void> {
    await this.#writing;
  }
}
