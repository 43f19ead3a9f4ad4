/** Counts the damage that was found in a store, and what of it was repaired, since the store was opened. */
import type { Metrics } from "@blixard/common";
import { bindStorageMetrics, type StorageMetrics } from "../metrics.ts";

export interface StorageHealth {
  /** Damaged places that were found. */
  readonly corruptions: number;
  /** How many of them hold again what they held. */
  readonly repairs: number;
}

export class DamageLedger {
  readonly #metrics: StorageMetrics;
  #corruptions = 0;
  #repairs = 0;

  constructor(metrics: Metrics) {
    this.#metrics = bindStorageMetrics(metrics);
  }

  get health(): StorageHealth {
    return { corruptions: this.#corruptions, repairs: this.#repairs };
  }

  get isRepaired(): boolean {
    return this.#corruptions === this.#repairs;
  }

  found(places: number): void {
    this.#corruptions += places;
    this.#metrics.corruptions.add(places);
  }

  /** What is missing in the log is the same damage as that of its files, if they were damaged. */
  foundInLog(places: number): void {
    if (this.isRepaired) this.found(places);
  }

  /** Something that is made of other data was damaged, and is made anew. */
  remade(): void {
    this.#corruptions++;
    this.#repairs++;
    this.#metrics.corruptions.add(1);
    this.#metrics.repairs.add(1);
  }

  repairedAll(): void {
    const repaired = this.#corruptions - this.#repairs;
    if (repaired > 0) this.#metrics.repairs.add(repaired);
    this.#repairs = this.#corruptions;
  }

  /** Somebody gave other entries than those that were lost. */
  refused(): void {
    this.#metrics.refusedAnswers.add(1);
  }
}
