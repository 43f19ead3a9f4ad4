/**
 * Reads everything that is stored, slowly and again and again, so that damage is found while it can be repaired from
 * memory, and not when it is needed. Each store says what to do about its own damage.
 */
import { type Clock, errorCodeOf, type Logger, messageOf, pauseFor } from "@blixard/common";
import type { DamageLedger } from "./damage-ledger.ts";

export interface ScrubOptions {
  /** Bytes that are read in a second. Default 1 MiB; 0: nothing is read. */
  readonly bytesPerSecond?: number;
  /** Milliseconds before the first pass and between two. Default 60,000. */
  readonly pauseMs?: number;
}

/** What can be read through. */
export interface Scrubbed {
  /** Yields the bytes of each piece that was read. */
  scrub(): AsyncIterable<number>;
}

const defaults = { bytesPerSecond: 1024 * 1024, pauseMs: 60_000 };

export interface ScrubberDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly damage: DamageLedger;
}

export class Scrubber {
  readonly #stores: readonly Scrubbed[];
  readonly #deps: ScrubberDeps;
  readonly #options: Required<ScrubOptions>;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;

  /** Starts at once, with a pause. */
  constructor(stores: readonly Scrubbed[], options: ScrubOptions, deps: ScrubberDeps) {
    this.#stores = stores;
    this.#options = { ...defaults, ...options };
    this.#deps = deps;
    this.#running = this.#options.bytesPerSecond > 0 ? this.#run() : Promise.resolve();
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #run(): Promise<void> {
    const { clock, logger, damage } = this.#deps;
    await this.#sleep(this.#options.pauseMs);
    while (!this.#stopped) {
      try {
        for (const store of this.#stores) await this.#pass(store);
      } catch (error) {
        // A database that cannot be read fails its owner too, or was closed before this.
        const level = this.#stopped || errorCodeOf(error) === "STOPPED" ? "debug" : "warn";
        logger.log(level, "the background check of the store has ended", { reason: messageOf(error) });
        return;
      }
      if (this.#stopped) return;
      damage.scrubPassed(clock.unixMs());
      await this.#sleep(this.#options.pauseMs);
    }
  }

  async #pass(store: Scrubbed): Promise<void> {
    for await (const bytes of store.scrub()) {
      if (this.#stopped) return;
      this.#deps.damage.scrubbed(bytes);
      await this.#sleep((bytes * 1_000) / this.#options.bytesPerSecond);
      if (this.#stopped) return;
    }
  }

  #sleep(ms: number): Promise<void> {
    return pauseFor(this.#deps.clock, ms, this.#stopping.signal);
  }

  /** Resolves when nothing is read any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }
}
