/**
 * Slows down callers that guess tickets. Each wrong ticket is counted for the key that showed it, and for all keys
 * together; the counts go down with time. While a count is at its limit, its keys are refused and no call of theirs
 * reaches the leader. Valid tickets are not counted.
 */
import { type BlixardError, type Clock, errorCodeOf, notApplied } from "@blixard/common";

export const ticketGuardLimits = {
  /** How many wrong tickets one key may show at once, and the time after which it may show one more. */
  perKeyMax: 5,
  perKeyRefillMs: 10_000,
  /** The same for all keys together. */
  togetherMax: 50,
  togetherRefillMs: 200,
  keysMax: 1_024,
} as const;

const wrong: ReadonlySet<string> = new Set(["TICKET_INVALID", "TICKET_USED", "TICKET_EXPIRED", "PERMISSION_DENIED"]);

interface Bucket {
  /** How many failures still count. */
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

  /** Runs `work` for a key, and counts a refusal. @throws OVERLOADED after too many of them, and whatever `work` throws */
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
    // The key that failed last moves to the end, so that the first key is the one whose failure is the oldest.
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
