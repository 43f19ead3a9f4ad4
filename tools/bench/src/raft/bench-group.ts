/** What two groups must have in common to be compared: size, limits, payloads, and proof of what was committed. */
import { assert } from "@blixard/common";

export const nodeIds: readonly number[] = [1, 2, 3];
export const bytesPerMessageMax = 1024 * 1024;
export const messagesInFlightMax = 256;
const payloadBytes = 100;
const payloadsCount = 1024;

export interface BenchGroup {
  /** Proposes the next payloads on the leader, one call for each, without delivering anything. */
  propose(count: number): void;
  /** Delivers and stores until nothing is left to do on any node. */
  settle(): void;
  /** Payloads that each node has seen committed, in the right order. */
  committed(): readonly number[];
}

/** Texts of 100 bytes, all different. */
export const benchPayloads: readonly string[] = Array.from({ length: payloadsCount }, (_, at) =>
  `payload ${at} `.padEnd(payloadBytes, "x"),
);

/** Counts committed payloads and sees that they are those that were proposed, in that order. */
export class CommitCheck<Payload> {
  readonly #payloads: readonly Payload[];
  count = 0;

  constructor(payloads: readonly Payload[]) {
    this.#payloads = payloads;
  }

  take(payload: Payload): void {
    assert(payload === this.#payloads[this.count % this.#payloads.length], `commit ${this.count} is out of order`);
    this.count++;
  }
}
