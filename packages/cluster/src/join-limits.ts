/** Limits of a join that both sides of it know. */
import { assertBelow } from "@blixard/common";

export const joinLimits = {
  /** How long the joiner waits for the answer to one request. */
  attemptTimeoutMs: 5_000,
  /** A machine that waits for an operator asks so often, and for so long. */
  pendingPollMs: 1_000,
  pendingTimeoutMs: 3_600_000,
  /** A machine that waits for an operator and has not asked for so long has given up. */
  pendingSilenceMsMax: 30_000,
  /** How long the leader waits for a member that looks alive to be gone, and how often it looks. */
  runningWaitMs: 2_500,
  runningPollMs: 250,
} as const;

const { attemptTimeoutMs, pendingPollMs, pendingTimeoutMs, pendingSilenceMsMax, runningWaitMs, runningPollMs } =
  joinLimits;
assertBelow({ runningPollMs }, { runningWaitMs }, "the leader looks more than once");
assertBelow({ runningWaitMs }, { attemptTimeoutMs }, "the leader answers before the joiner gives up");
assertBelow(
  { "2 * pendingPollMs": 2 * pendingPollMs, attemptTimeoutMs },
  { pendingSilenceMsMax },
  "a machine that waits for an operator is not forgotten between two requests",
);
assertBelow({ attemptTimeoutMs }, { pendingTimeoutMs }, "a request is a part of the wait");
