/**
 * Over which technology one peer is reached, and why.
 *
 *                 the fallback answered while the preferred one did not
 *     preferred ---------------------------------------------------------> fallback (probing)
 *         ^                                                                     |
 *         |   every probe answered for `healthyMs`, or the fallback failed      |
 *         |   while the preferred one answered                                  |
 *         '---------------------------------------------------------------------'
 *
 * A peer that is simply down changes nothing: only an answer over one technology acknowledges the failure of the other.
 * A fallback soon after a return doubles the time that the next return takes.
 */
import { dualLimits } from "./dual-limits.ts";

export interface PeerChoiceOptions {
  /** Time without a failed probe before a return. */
  readonly healthyMs: number;
}

/** Which of the two technologies. */
export type Side = "preferred" | "fallback";

export class PeerChoice {
  readonly #options: PeerChoiceOptions;
  #side: Side = "preferred";
  #reason = "preferred";
  #neededMs: number;
  #healthySinceMs: number | undefined;
  #returnedMs: number | undefined;

  constructor(options: PeerChoiceOptions) {
    this.#options = options;
    this.#neededMs = options.healthyMs;
  }

  get side(): Side {
    return this.#side;
  }

  get reason(): string {
    return this.#reason;
  }

  /** A dial over `side` was answered; `otherFailure` says why the other one was not, if it was tried. */
  answered(side: Side, otherFailure: string | undefined, nowMs: number): void {
    if (side === this.#side || otherFailure === undefined) return;
    this.#side = side;
    this.#reason = otherFailure;
    if (side === "preferred") this.#returnedMs = nowMs;
    else this.#fallBack(nowMs);
  }

  /** A probe of the preferred technology was answered. True when that ended the fallback. */
  probeAnswered(nowMs: number): boolean {
    if (this.#side === "preferred") return false;
    this.#healthySinceMs ??= nowMs;
    if (nowMs - this.#healthySinceMs < this.#neededMs) return false;
    this.#side = "preferred";
    this.#reason = `healthy again for ${Math.round(this.#neededMs / 1_000)} s`;
    this.#returnedMs = nowMs;
    return true;
  }

  probeFailed(): void {
    this.#healthySinceMs = undefined;
  }

  #fallBack(nowMs: number): void {
    const { healthyMs } = this.#options;
    const soon = this.#returnedMs !== undefined && nowMs - this.#returnedMs < dualLimits.flapMs;
    this.#neededMs = soon ? Math.min(this.#neededMs * 2, dualLimits.healthyMsMax) : healthyMs;
    this.#healthySinceMs = undefined;
  }
}
