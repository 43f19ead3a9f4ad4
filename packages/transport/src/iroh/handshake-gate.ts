/**
 * Decides which incoming connections may shake hands. A handshake costs 0.7 ms of CPU (measured), and the key is known
 * only at its end. So the handshakes in a second are bounded, for each address and for all, and those that do not end;
 * the gate refuses the others before they cost anything.
 *
 * What comes from the address of a member counts for that address alone, so strangers elsewhere cannot use up its share.
 * A datagram may bear any address. So when many come, each first has to show that it receives what is sent there.
 */
import { transportLimits } from "../transport-limits.ts";

export interface Arrival {
  /** See `shareOfAddress`. */
  readonly share: string;
  /** It has shown that it receives what is sent to its address. */
  readonly isProved: boolean;
  /** A member is said to be at its address. */
  readonly isMemberShare: boolean;
}

/** `prove`: it may come again once it has shown that it receives what is sent to its address. */
export type Admission = "enter" | "prove" | "refuse";

export class HandshakeGate {
  readonly #all: Bucket;
  /** Shares that are not full. */
  readonly #shares = new Map<string, Bucket>();
  #unfinished = 0;

  constructor() {
    const { handshakesBurstMax, handshakesPerSecondMax } = transportLimits;
    this.#all = new Bucket(handshakesBurstMax, handshakesPerSecondMax);
  }

  /** After `enter`, `leave` must follow at the end of the handshake. */
  enter(nowMs: number, { share, isProved, isMemberShare }: Arrival): Admission {
    const { handshakesUnfinishedMax, handshakesBurstMax } = transportLimits;
    if (!isProved && this.#all.filled(nowMs) < handshakesBurstMax / 2) return "prove";
    if (!isMemberShare && this.#unfinished >= handshakesUnfinishedMax) return "refuse";
    const bucket = this.#bucketOf(nowMs, share);
    if (bucket === undefined || bucket.filled(nowMs) < 1) return "refuse";
    if (!isMemberShare && this.#all.filled(nowMs) < 1) return "refuse";
    bucket.take();
    this.#all.take();
    this.#unfinished++;
    return "enter";
  }

  leave(): void {
    this.#unfinished--;
  }

  /** Undefined when too many addresses are remembered. */
  #bucketOf(nowMs: number, share: string): Bucket | undefined {
    const known = this.#shares.get(share);
    if (known !== undefined) return known;
    const { handshakeSharesMax, handshakesPerShareBurstMax, handshakesPerSharePerSecondMax } = transportLimits;
    if (this.#shares.size >= handshakeSharesMax) {
      for (const [other, bucket] of this.#shares) if (bucket.isFull(nowMs)) this.#shares.delete(other);
      if (this.#shares.size >= handshakeSharesMax) return undefined;
    }
    const bucket = new Bucket(handshakesPerShareBurstMax, handshakesPerSharePerSecondMax);
    this.#shares.set(share, bucket);
    return bucket;
  }
}

class Bucket {
  readonly #max: number;
  readonly #perSecond: number;
  #tokens: number;
  #filledMs = 0;

  constructor(max: number, perSecond: number) {
    this.#max = max;
    this.#perSecond = perSecond;
    this.#tokens = max;
  }

  /** How many may be taken now. */
  filled(nowMs: number): number {
    const gained = ((nowMs - this.#filledMs) * this.#perSecond) / 1_000;
    this.#tokens = Math.min(this.#max, this.#tokens + gained);
    this.#filledMs = nowMs;
    return this.#tokens;
  }

  isFull(nowMs: number): boolean {
    return this.filled(nowMs) >= this.#max;
  }

  /** May go below what there is: members' handshakes count for all, though they need nobody's share. */
  take(): void {
    this.#tokens = Math.max(0, this.#tokens - 1);
  }
}
