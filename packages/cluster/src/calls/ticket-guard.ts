/**
 * Slows down who guesses: wrong tickets empty a bucket for the key that showed them, and one for all keys together, both
 * of which fill up again with time. While one is empty nobody it counts is asked to the leader. Right tickets are free.
 */
import { type BlixardError, type Clock, errorCodeOf, notApplied } from "@blixard/common";

export const ticketGuardLimits = {
  /** Wrong tickets of one key at once, and the time after which one more is allowed. */
  perKeyMax: 5,
  perKeyRefillMs: 10_000,
  /** The same for all keys together. */
  togetherMax: 50,
  togetherRefillMs: 200,
  keysMax: 1_024,
} as const;

const wrong: ReadonlySet<string> = new Set(["TICKET_INVALID", "TICKET_USED", "TICKET_EXPIRED", "PERMISSION_DENIED"]);

interface Bucket {
  /** Failures that still count. */
  level: number;
  atMs: number;
}

export class TicketGuard {
  readonly #clock: Clock;
  readonly #perKey = new Map<string, Bucket>();
  readonly #together: Bucket = { level: 0, atMs: 0 };

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs `work` for a key, and remembers a refusal. @throws OVERLOADED when there were too many, and what `work` does */
  async run<T>(endpointId: string, work: () => Promise<T>): Promise<T> {
    const { perKeyMax, perKeyRefillMs, togetherMax, togetherRefillMs } = ticketGuardLimits;
    const own = this.#perKey.get(endpointId);
    if (own !== undefined && this.#levelOf(own, perKeyRefillMs) > perKeyMax - 1) throw limited("this key");
    if (this.#levelOf(this.#together, togetherRefillMs) > togetherMax - 1) throw limited("strangers");
    try {
      return await work();
    } catch (error) {
      if (wrong.has(errorCodeOf(error) ?? "")) this.#count(endpointId);
      throw error;
    }
  }

  #count(endpointId: string): void {
    const { perKeyRefillMs, togetherRefillMs, keysMax } = ticketGuardLimits;
    const own = this.#perKey.get(endpointId) ?? { level: 0, atMs: 0 };
    this.#add(own, perKeyRefillMs);
    this.#add(this.#together, togetherRefillMs);
    // The key that failed last stands last, so that the first one is the oldest.
    this.#perKey.delete(endpointId);
    this.#perKey.set(endpointId, own);
    const [oldest] = this.#perKey.keys();
    if (this.#perKey.size > keysMax && oldest !== undefined) this.#perKey.delete(oldest);
  }

  #add(bucket: Bucket, refillMs: number): void {
    bucket.level = this.#levelOf(bucket, refillMs) + 1;
    bucket.atMs = this.#clock.monotonicMs();
  }

  #levelOf({ level, atMs }: Bucket, refillMs: number): number {
    return Math.max(0, level - (this.#clock.monotonicMs() - atMs) / refillMs);
  }
}

function limited(who: string): BlixardError {
  return notApplied("OVERLOADED", `${who} showed too many tickets that are not good`, {
    hint: "Wait a little, and check the ticket: blixard ticket list",
  });
}
