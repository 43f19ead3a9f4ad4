/**
 * Proposes again after failures that pass. Whether that is right depends on what is known about the failed attempt:
 *
 *     NOT_LEADER, PROPOSAL_DROPPED, OVERLOADED   it is in no log          any command may be sent again
 *     OUTCOME_UNKNOWN                            it may still be applied  only a command that applies once may be
 *     everything else                            trying again is no help  the caller decides, maybe with another node
 *
 * Once the outcome of one attempt is unknown, no later refusal makes the command certain not to be applied.
 */
import { BlixardError, type Clock, errorCodeOf, isBlixardError, messageOf, sleep } from "@blixard/common";
import type { Applied, RaftNode, SignalOptions } from "../raft-node-types.ts";

export interface ProposeRetryOptions extends SignalOptions {
  readonly clock: Clock;
  /**
   * Whether the state machine recognises a command that it has applied before, by a request id in the command, and
   * returns the first result again. A command whose outcome is unknown is sent again only if this is true.
   */
  readonly idempotent: boolean;
  /** Attempts in all. Default: 10. */
  readonly attemptsMax?: number;
  /** Milliseconds before the second attempt. Each later pause is twice as long, up to 20 times this. Default: 50. */
  readonly delayMs?: number;
}

const refusalsThatPass: readonly unknown[] = ["NOT_LEADER", "PROPOSAL_DROPPED", "OVERLOADED"];
const delayGrowthMax = 20;

/** @throws OUTCOME_UNKNOWN when an attempt may have been applied, else the error of the last attempt */
export async function proposeWithRetry<Result>(
  node: Pick<RaftNode<Result>, "propose">,
  data: Uint8Array,
  options: ProposeRetryOptions,
): Promise<Applied<Result>> {
  const { clock, idempotent, attemptsMax = 10, delayMs = 50, signal } = options;
  let isUnknown = false;
  for (let attempt = 1; ; attempt++) {
    try {
      return await node.propose(data, signal === undefined ? {} : { signal });
    } catch (error) {
      const code = errorCodeOf(error);
      const mayRetry = refusalsThatPass.includes(code) || (idempotent && code === "OUTCOME_UNKNOWN");
      isUnknown ||= isBlixardError(error) && error.outcome === "unknown";
      if (!mayRetry || attempt >= attemptsMax) throw isUnknown ? outcomeUnknownAfter(error) : error;
    }
    const pauseMs = delayMs * Math.min(2 ** (attempt - 1), delayGrowthMax);
    await sleep(clock, pauseMs, signal).catch((error: unknown) => {
      throw isUnknown ? outcomeUnknownAfter(error) : error;
    });
  }
}

function outcomeUnknownAfter(error: unknown): BlixardError {
  if (isBlixardError(error) && error.outcome === "unknown") return error;
  return new BlixardError(
    "OUTCOME_UNKNOWN",
    `an earlier attempt may have been applied; the last: ${messageOf(error)}`,
    {
      cause: error,
      outcome: "unknown",
    },
  );
}
