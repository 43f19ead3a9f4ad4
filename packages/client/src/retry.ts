/** When a request is sent again, how long to wait before, and when to give up. */
import { type Clock, changedError, errorCodeOf, errorCodes, isBlixardError, type Random, sleep } from "@blixard/common";
import { isDecided } from "@blixard/protocol";

export interface RetryPolicy {
  /** Time for the whole call, all attempts included. Default 15 s. */
  readonly timeoutMs: number;
  /** Gives up when no address could be reached at all for so long, and each was tried. Default 3 s. */
  readonly unreachableMs: number;
  /** How many addresses take turns. Default 1. */
  readonly addresses?: number;
  /** Only what is known not to have begun is sent again. Default: also what may have. */
  readonly once?: boolean;
}

export const defaultRetryPolicy: RetryPolicy = { timeoutMs: 15_000, unreachableMs: 3_000 };

const backoffFirstMs = 25;
const backoffMaxMs = 1_000;
const attemptsMax = 200;

export interface RetryDeps {
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Runs `attempt` until it succeeds, fails for good, or the time is over. The error at the end is the last one, with
 * outcome `unknown` when any attempt may have been applied, unless the state machine itself answered to the request id.
 */
export async function withRetries<T>(
  deps: RetryDeps,
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
  attempt: (remainingMs: number, number: number) => Promise<T>,
): Promise<T> {
  const startMs = deps.clock.monotonicMs();
  let lastAnswerMs = startMs;
  let mayBeApplied = false;
  /**
   * What a node said last of why it cannot now. A last attempt that had little time left knows less than that, and so does
   * one at another address that nobody answers at.
   */
  let reason: unknown;
  /** Attempts in a row that reached nobody. */
  let unanswered = 0;
  for (let number = 0; ; number++) {
    try {
      const elapsedMs = deps.clock.monotonicMs() - startMs;
      return await attempt(Math.max(1, policy.timeoutMs - elapsedMs), number);
    } catch (error) {
      const wasSent = isBlixardError(error) && error.outcome === "unknown";
      if (wasSent) mayBeApplied = true;
      const code = errorCodeOf(error) ?? "INTERNAL";
      const nowMs = deps.clock.monotonicMs();
      // A connection that broke with a request on it did reach a node, however long that had kept it waiting.
      const reachedNobody = code === "UNREACHABLE" && !wasSent;
      unanswered = reachedNobody ? unanswered + 1 : 0;
      if (!reachedNobody) lastAnswerMs = nowMs;
      const saysNothing = code === "DEADLINE_EXCEEDED" || code === "UNREACHABLE";
      if (!saysNothing) reason = error;
      const delayMs = backoffMs(deps.random, number);
      // One of several addresses that keeps its caller waiting is not another one's silence.
      const everywhere = unanswered >= (policy.addresses ?? 1) && nowMs - lastAnswerMs >= policy.unreachableMs;
      const outOfTime = everywhere || nowMs + delayMs - startMs >= policy.timeoutMs;
      const mayRepeat = policy.once !== true || (isBlixardError(error) && error.outcome === "not_applied");
      if (!mayRepeat || !errorCodes[code].retryable || outOfTime || number + 1 >= attemptsMax || signal?.aborted) {
        throw withOutcome(saysNothing && !everywhere ? (reason ?? error) : error, mayBeApplied);
      }
      await sleep(deps.clock, delayMs, signal);
    }
  }
}

/** Exponential with full jitter above a floor of a half, so that many clients do not come back together. */
function backoffMs(random: Random, number: number): number {
  const ceilingMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(number, 10));
  return ceilingMs / 2 + (ceilingMs / 2) * random.next();
}

function withOutcome(error: unknown, mayBeApplied: boolean): unknown {
  if (!mayBeApplied || !isBlixardError(error) || isDecided(error) || error.outcome === "unknown") return error;
  return changedError(error, { outcome: "unknown" });
}
