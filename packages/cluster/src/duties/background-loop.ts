/** The shape of every duty of a node: look at the levels, act where they differ, wait for a change, back off on errors. */

import type { Clock } from "@blixard/common";
import { errorCodeOf, type Logger, messageOf, pauseFor } from "@blixard/common";
import type { ClusterMetrics, DutyName } from "../metrics.ts";

export interface LoopDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<ClusterMetrics, "dutyFailures">;
  readonly retryDelayMs: number;
}

const backoffFactorMax = 16;

/**
 * Runs `round` until `signal` aborts; `round` waits by itself when there is nothing to do. A round that fails is tried
 * again after a delay that doubles with each failure in a row. Never rejects.
 */
export async function runLoop(
  deps: LoopDeps,
  duty: DutyName,
  signal: AbortSignal,
  round: () => Promise<void>,
): Promise<void> {
  let delayMs = deps.retryDelayMs;
  while (!signal.aborted) {
    try {
      await round();
      delayMs = deps.retryDelayMs;
    } catch (error) {
      if (signal.aborted) return;
      deps.metrics.dutyFailures.add(1, { duty });
      const fields = { duty, code: errorCodeOf(error), error: messageOf(error), delayMs };
      deps.logger.log("debug", "a duty of the node failed and is tried again", fields);
      await pauseFor(deps.clock, delayMs, signal);
      delayMs = Math.min(2 * delayMs, backoffFactorMax * deps.retryDelayMs);
    }
  }
}
