/**
 * Decides which incoming connections may shake hands. A handshake costs 0.7 ms of CPU (measured), and the key is known
 * only at its end. So the handshakes in a second are bounded, for each address and for all, and those that do not end;
 * the gate refuses the others before they cost anything.
 *
 * What comes from the address of a member counts for that address alone, so strangers elsewhere cannot use up its share.
 * A datagram may bear any address. So when many come, each first has to show that it receives what is sent there.
 */
import { type BucketRate, LeakyBucket } from "@blixard/common";
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

const rateOfAll: BucketRate = {
  max: transportLimits.handshakesBurstMax,
  perSecond: transportLimits.handshakesPerSecondMax,
};
const rateOfShare: BucketRate = {
  max: transportLimits.handshakesPerShareBurstMax,
  perSecond: transportLimits.handshakesPerSharePerSecondMax,
};

export class HandshakeGate {
  readonly #all = new LeakyBucket();
  /** Shares that were used lately. */
  readonly #shares = new Map<string, LeakyBucket>();
  #unfinished = 0;

  /** After `enter`, `leave` must follow at the end of the handshake. */
  enter(nowMs: number, { share, isProved, isMemberShare }: Arrival): Admission {
    const { handshakesUnfinishedMax, handshakesBurstMax } = transportLimits;
    if (!isProved && this.#all.room(nowMs, rateOfAll) < handshakesBurstMax / 2) return "prove";
    if (!isMemberShare && this.#unfinished >= handshakesUnfinishedMax) return "refuse";
    const bucket = this.#bucketOf(nowMs, share);
    if (bucket === undefined || bucket.room(nowMs, rateOfShare) < 1) return "refuse";
    // Members' handshakes count for all where there is room, though they need nobody's.
    if (!this.#all.takes(nowMs, rateOfAll) && !isMemberShare) return "refuse";
    bucket.add(nowMs, rateOfShare);
    this.#unfinished++;
    return "enter";
  }

  leave(): void {
    this.#unfinished--;
  }

  /** Undefined when too many addresses are remembered. */
  #bucketOf(nowMs: number, share: string): LeakyBucket | undefined {
    const known = this.#shares.get(share);
    if (known !== undefined) return known;
    const { handshakeSharesMax } = transportLimits;
    if (this.#shares.size >= handshakeSharesMax) {
      for (const [other, bucket] of this.#shares)
        if (bucket.room(nowMs, rateOfShare) === rateOfShare.max) this.#shares.delete(other);
      if (this.#shares.size >= handshakeSharesMax) return undefined;
    }
    const bucket = new LeakyBucket();
    this.#shares.set(share, bucket);
    return bucket;
  }
}
