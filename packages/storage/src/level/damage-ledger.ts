/** Counts the damage that was found in a store, and what of it was repaired, since the store was opened. */
import type { Metrics } from "@blixard/common";
import { bindStorageMetrics, type StorageMetrics } from "../metrics.ts";

/** How far the background check of everything that is stored has come since the store was opened. */
export interface ScrubStatus {
  /** How often everything was read. */
  readonly passes: number;
  readonly checkedBytes: number;
  /** When the last pass ended; null before. */
  readonly lastPassUnixMs: number | null;
}

export interface StorageHealth {
  /** Damaged places that were found. */
  readonly corruptions: number;
  /** How many of them hold again what they held. */
  readonly repairs: number;
  readonly scrub: ScrubStatus;
}

export class DamageLedger {
  readonly #metrics: StorageMetrics;
  #corruptions = 0;
  #repairs = 0;
  /** Places in the log that are not repaired. */
  #openInLog = 0;
  #scrub: ScrubStatus = { passes: 0, checkedBytes: 0, lastPassUnixMs: null };

  constructor(metrics: Metrics) {
    this.#metrics = bindStorageMetrics(metrics);
  }

  get health(): StorageHealth {
    return { corruptions: this.#corruptions, repairs: this.#repairs, scrub: this.#scrub };
  }

  /** Whether the log has no damage any more. */
  get isLogRepaired(): boolean {
    return this.#openInLog === 0;
  }

  found(places: number): void {
    this.#corruptions += places;
    this.#metrics.corruptions.add(places);
  }

  repaired(places: number): void {
    this.#repairs += places;
    this.#metrics.repairs.add(places);
  }

  foundInLogFiles(places: number): void {
    this.#openInLog += places;
    this.found(places);
  }

  /** What is missing in the log is the same damage as that of its files, if they were damaged. */
  foundInLog(places: number): void {
    if (this.isLogRepaired) this.foundInLogFiles(places);
  }

  repairedLog(): void {
    if (this.#openInLog > 0) this.repaired(this.#openInLog);
    this.#openInLog = 0;
  }

  /** Something that is made of other data was damaged, and is made anew. */
  remade(): void {
    this.found(1);
    this.repaired(1);
  }

  /** Somebody gave other entries than those that were lost. */
  refused(): void {
    this.#metrics.refusedAnswers.add(1);
  }

  scrubbed(bytes: number): void {
    this.#scrub = { ...this.#scrub, checkedBytes: this.#scrub.checkedBytes + bytes };
    this.#metrics.scrubbedBytes.add(bytes);
  }

  scrubPassed(unixMs: number): void {
    this.#scrub = { ...this.#scrub, passes: this.#scrub.passes + 1, lastPassUnixMs: unixMs };
    this.#metrics.scrubPasses.add(1);
  }
}
