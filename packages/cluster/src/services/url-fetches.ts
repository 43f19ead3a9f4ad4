/**
 * Blobs that this node fetches from a URL because an administrator asked it to. It goes on between the calls that ask how far
 * it is, and ends when nobody does.
 */
import { BlixardError, type Clock, errorCodeOf, notApplied, type Timer, Watch } from "@blixard/common";
import type { ParsedRequestOf, ResponseOf } from "@blixard/protocol";
import type { VmManager } from "@blixard/vm-manager";

const urlFetchesMax = 2;
/** How long a call waits for the end. */
const answerMs = 3_000;
/** How long a fetch goes on, and its result is kept, without anybody who asks. */
const idleMs = 60_000;

interface Progress {
  readonly receivedBytes: number;
  readonly sizeBytes: number | null;
  readonly digest: string | null;
  readonly error?: unknown;
}

interface Fetch {
  readonly progress: Watch<Progress>;
  readonly life: AbortController;
  idle: Timer | undefined;
}

export class UrlFetches {
  readonly #clock: Clock;
  readonly #images: Pick<VmManager["images"], "fetchUrl">;
  readonly #fetches = new Map<string, Fetch>();

  constructor(clock: Clock, images: Pick<VmManager["images"], "fetchUrl">) {
    this.#clock = clock;
    this.#images = images;
  }

  /** @throws what the fetch failed with, OVERLOADED */
  async ask(
    owner: string,
    request: ParsedRequestOf<"blob.fetch">,
    signal: AbortSignal,
  ): Promise<Omit<ResponseOf<"blob.fetch">, "nodeId">> {
    const key = JSON.stringify([owner, request.url, request.digest, request.raw]);
    const fetch = this.#fetches.get(key) ?? this.#start(key, request);
    fetch.idle?.cancel();
    const limit = { clock: this.#clock, delayMs: answerMs };
    const { error, ...progress } = await fetch.progress.until(isOver, { signal, limit });
    if (error !== undefined || progress.digest !== null) this.#forget(key, fetch);
    else fetch.idle = this.#clock.setTimer(idleMs, () => this.#forget(key, fetch));
    if (error !== undefined) throw error;
    return progress;
  }

  #start(key: string, { url, digest, raw }: ParsedRequestOf<"blob.fetch">): Fetch {
    if (this.#fetches.size >= urlFetchesMax) {
      throw notApplied("OVERLOADED", `this node fetches ${urlFetchesMax} blobs already`);
    }
    const progress = new Watch<Progress>({ receivedBytes: 0, sizeBytes: null, digest: null });
    const fetch: Fetch = { progress, life: new AbortController(), idle: undefined };
    this.#fetches.set(key, fetch);
    const onProgress = (receivedBytes: number, sizeBytes: number | undefined) =>
      progress.set({ receivedBytes, sizeBytes: sizeBytes ?? null, digest: null });
    this.#images
      .fetchUrl(url, {
        ...(digest === undefined ? {} : { digest }),
        ...(raw === undefined ? {} : { raw }),
        ...{ signal: fetch.life.signal, onProgress },
      })
      .then(
        (stored) =>
          progress.set({ receivedBytes: stored.sizeBytes, sizeBytes: stored.sizeBytes, digest: stored.digest }),
        (error: unknown) =>
          progress.update((seen) => ({
            ...seen,
            error:
              errorCodeOf(error) === undefined
                ? new BlixardError("UNAVAILABLE", "the blob cannot be fetched", { cause: error })
                : error,
          })),
      );
    return fetch;
  }

  #forget(key: string, fetch: Fetch): void {
    fetch.idle?.cancel();
    if (this.#fetches.get(key) === fetch) this.#fetches.delete(key);
    fetch.life.abort(new BlixardError("CANCELLED", "nobody asks for the blob any more"));
  }
}

function isOver({ digest, error }: Progress): boolean {
  return digest !== null || error !== undefined;
}
