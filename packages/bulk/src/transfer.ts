/**
 * One transfer into a file: what is missing is asked for from all sources at once, each chunk is checked before it is
 * written, and a chunk that did not come, or was wrong, is asked for from another source.
 */
import { type Clock, LeakyBucket, type LinkedSignal, linkSignal, sleep } from "@blixard/common";
import { agreeOnManifest } from "./agreed-manifest.ts";
import { bulkLimits } from "./bulk-limits.ts";
import { chunkPath } from "./bulk-path.ts";
import type { BulkFetch, BulkFetched } from "./bulk-types.ts";
import type { ChunkBuffers } from "./chunk-buffers.ts";
import { isChunk, type Manifest, placeOf } from "./manifest.ts";
import type { BulkMetrics } from "./metrics.ts";
import { PartialFile } from "./partial-file.ts";
import type { Sources } from "./sources.ts";

export interface TransferDeps {
  readonly clock: Clock;
  readonly metrics: BulkMetrics;
  readonly sources: Sources;
  /** Chunks that this node may hold in memory, over all transfers. */
  readonly memory: ChunkBuffers;
}

export class Transfer {
  readonly #deps: TransferDeps;
  readonly #wanted: BulkFetch;
  readonly #manifest: Manifest;
  readonly #file: PartialFile;
  /** Stops the streams also when the disk fails. */
  readonly #streaming: LinkedSignal;
  readonly #missing: number[];
  readonly #condition = new Condition();
  readonly #pace = new LeakyBucket();
  #left: number;
  #verifiedBytes: number;

  private constructor(deps: TransferDeps, wanted: BulkFetch, manifest: Manifest, file: PartialFile, missing: number[]) {
    this.#deps = deps;
    this.#wanted = wanted;
    this.#manifest = manifest;
    this.#file = file;
    this.#missing = missing.reverse();
    this.#left = missing.length;
    this.#streaming = linkSignal(wanted.signal);
    this.#verifiedBytes = manifest.sizeBytes - bytesOf(manifest, missing);
    deps.metrics.reused.add(this.#verifiedBytes);
  }

  /** @throws UNAVAILABLE, NOT_FOUND, the errors of the disk, and the reason of the signal */
  static async run(deps: TransferDeps, wanted: BulkFetch): Promise<BulkFetched> {
    const { manifest, sources: agreeing } = await agreeOnManifest(deps.clock, deps.sources, wanted);
    const file = await PartialFile.open(wanted.path, manifest, { sparse: wanted.sparse === true });
    try {
      const missing = await file.missing(wanted.signal);
      await wanted.onMissing?.(bytesOf(manifest, missing));
      await new Transfer(deps, wanted, manifest, file, missing).#fill();
      await file.sync();
      return { contentId: manifest.contentId, sizeBytes: manifest.sizeBytes, sources: agreeing };
    } finally {
      await file.close();
    }
  }

  async #fill(): Promise<void> {
    try {
      await this.#fillInRounds();
    } finally {
      this.#streaming.release();
    }
  }

  async #fillInRounds(): Promise<void> {
    const { sources, clock } = this.#deps;
    this.#wanted.onProgress?.(this.#verifiedBytes);
    for (let roundsWithoutProgress = 0; this.#left > 0; ) {
      const before = this.#left;
      await this.#round();
      this.#streaming.signal.throwIfAborted();
      if (this.#left === 0) return;
      roundsWithoutProgress = this.#left < before ? 0 : roundsWithoutProgress + 1;
      sources.reviveLost();
      if (roundsWithoutProgress >= bulkLimits.roundsMax || sources.alive().length === 0) {
        sources.refuse(`${this.#wanted.name.kind} ${this.#wanted.name.id}`);
      }
      await sleep(clock, bulkLimits.roundPauseMs, this.#streaming.signal);
    }
  }

  /** Ends when nothing is missing, or when every source was dropped. */
  async #round(): Promise<void> {
    const streams = this.#deps.sources
      .alive()
      .flatMap((nodeId) => Array.from({ length: bulkLimits.chunksPerSourceMax }, () => this.#stream(nodeId)));
    const results = await Promise.allSettled(streams);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  /** Takes chunks from one source for as long as it gives them. Waits while others fetch the last ones, because they may fail. */
  async #stream(nodeId: number): Promise<void> {
    const { sources } = this.#deps;
    try {
      while (this.#left > 0 && !this.#streaming.signal.aborted && sources.alive().includes(nodeId)) {
        const index = this.#missing.pop();
        if (index === undefined) {
          await this.#condition.wait();
          continue;
        }
        await this.#untilTurn();
        if (await this.#take(nodeId, index)) this.#left--;
        else this.#missing.push(index);
        this.#condition.notifyAll();
      }
    } catch (error) {
      this.#streaming.abort(error);
      throw error;
    } finally {
      this.#condition.notifyAll();
    }
  }

  /** Waits until one more chunk may come, where the rate is bounded. */
  async #untilTurn(): Promise<void> {
    const { bytesPerSecondMax } = this.#wanted;
    if (bytesPerSecondMax === undefined) return;
    const { clock } = this.#deps;
    const bytes = this.#manifest.chunkBytes;
    const rate = { max: bytes, perSecond: bytesPerSecondMax };
    for (;;) {
      const nowMs = clock.monotonicMs();
      const lacking = bytes - this.#pace.room(nowMs, rate);
      if (lacking <= 0) return this.#pace.add(nowMs, rate, bytes);
      await sleep(clock, Math.ceil((1_000 * lacking) / bytesPerSecondMax), this.#streaming.signal);
    }
  }

  /** Whether the chunk is in the file now. Rejects only for errors of this node. */
  async #take(nodeId: number, index: number): Promise<boolean> {
    const { sources, memory, metrics } = this.#deps;
    const place = placeOf(this.#manifest, index);
    return await memory.lend(this.#manifest.chunkBytes, async (into) => {
      const options = { bytesMax: place.length, into, stallMs: bulkLimits.stallMs, signal: this.#streaming.signal };
      const path = chunkPath(this.#wanted.name, this.#manifest.contentId, place);
      const bytes = await sources.request(nodeId, path, options).catch(() => undefined);
      if (bytes === undefined) return false;
      if (!isChunk(this.#manifest, index, bytes)) {
        sources.drop(nodeId, "bad_chunk");
        return false;
      }
      await this.#file.write(index, bytes);
      metrics.bytes.add(bytes.length, { direction: "received", route: sources.routeTo(nodeId) });
      this.#verifiedBytes += bytes.length;
      this.#wanted.onProgress?.(this.#verifiedBytes);
      return true;
    });
  }
}

function bytesOf(manifest: Manifest, chunks: readonly number[]): number {
  return chunks.reduce((sum, index) => sum + placeOf(manifest, index).length, 0);
}

/** A condition variable: wakes all that wait. */
class Condition {
  #wake: (() => void)[] = [];

  wait(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  notifyAll(): void {
    const woken = this.#wake;
    this.#wake = [];
    for (const wake of woken) wake();
  }
}
