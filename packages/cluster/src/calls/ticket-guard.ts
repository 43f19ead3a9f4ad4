/**
 * Slows down callers that show tickets which are not good. Nobody guesses a ticket, which is a key of 256 bits; what wrong
 * ones cost is work: a check of a signature for each, and a call to the leader for one that a follower does not know.
 *
 *     TicketGuard   each wrong ticket is counted for the key that showed it; while the count of a key is at its limit, its
 *                   calls are refused without a check
 *     AskBudget     how often all strangers together make a follower ask the leader about a ticket that it does not know
 *
 * Nothing that strangers use up refuses a right ticket of another key: every ticket that the state of the node holds is
 * checked there, whatever the others do. One that is so new that a follower does not know it yet is a moment later.
 */
import { type BlixardError, type BucketRate, type Clock, errorCodeOf, LeakyBucket, notApplied } from "@blixard/common";

export const ticketGuardLimits = {
  /** How many wrong tickets one key may show at once, and the time after which it may show one more. */
  perKeyMax: 5,
  perKeyRefillMs: 10_000,
  /** Questions to the leader at once, for all strangers together, and the time after which it may be one more. */
  leaderAsksMax: 50,
  leaderAsksRefillMs: 200,
  keysMax: 1_024,
} as const;

const wrong: ReadonlySet<string> = new Set(["TICKET_INVALID", "TICKET_USED", "TICKET_EXPIRED", "PERMISSION_DENIED"]);

const perKey: BucketRate = { max: ticketGuardLimits.perKeyMax, perSecond: 1_000 / ticketGuardLimits.perKeyRefillMs };
const leaderAsks: BucketRate = {
  max: ticketGuardLimits.leaderAsksMax,
  perSecond: 1_000 / ticketGuardLimits.leaderAsksRefillMs,
};

export class TicketGuard {
  readonly #clock: Clock;
  readonly #perKey = new Map<string, LeakyBucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs `work` for a key, and counts a refusal. @throws OVERLOADED after too many of them, and whatever `work` throws */
  async run<T>(endpointId: string, work: () => Promise<T>): Promise<T> {
    const own = this.#perKey.get(endpointId);
    if (own !== undefined && own.room(this.#clock.monotonicMs(), perKey) < 1) throw limited();
    try {
      return await work();
    } catch (error) {
      if (wrong.has(errorCodeOf(error) ?? "")) this.#count(endpointId);
      throw error;
    }
  }

  #count(endpointId: string): void {
    const own = this.#perKey.get(endpointId) ?? new LeakyBucket();
    own.add(this.#clock.monotonicMs(), perKey);
    // The key that failed last moves to the end, so that the first key is the one whose failure is the oldest.
    this.#perKey.delete(endpointId);
    this.#perKey.set(endpointId, own);
    const [oldest] = this.#perKey.keys();
    if (this.#perKey.size > ticketGuardLimits.keysMax && oldest !== undefined) this.#perKey.delete(oldest);
  }
}

export class AskBudget {
  readonly #clock: Clock;
  readonly #asks = new LeakyBucket();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws OVERLOADED */
  take(): void {
    if (this.#asks.takes(this.#clock.monotonicMs(), leaderAsks)) return;
    throw notApplied("OVERLOADED", "this node does not know the ticket, and has asked the leader about too many", {
      hint: "Try again soon, or ask another node.",
    });
  }
}

function limited(): BlixardError {
  return notApplied("OVERLOADED", "this key showed too many tickets that are not good", {
    hint: "Wait a little, and check the ticket: blixard ticket list",
  });
}
