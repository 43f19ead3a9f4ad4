/**
 * Brings a call to the leader and keeps at it while there is none, while it moves, and while the way to it breaks:
 *
 *     leads here? -- yes --> run the handler ----------------+--> answer
 *        | no                                                |
 *     leader known? -- yes --> forward, one attempt ---------+
 *        | no                                                | error that may pass
 *     wait for one <------------ back off <------------------+
 *
 * A retry keeps the request id, and names an index from before the first attempt: so what that may have done is not done
 * twice, also when the request id is forgotten meanwhile.
 */
import {
  abortReason,
  BlixardError,
  changedError,
  errorCodeOf,
  firstOf,
  isBlixardError,
  linkSignal,
  notApplied,
  onAbort,
  sleep,
  withTimeLimit,
} from "@blixard/common";
import { type CallMeta, forwardHopsMax, isDecided } from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";

/** What these steps use of the node. */
type LeaderRouteParts = Pick<NodeParts, "clock" | "options" | "raft">;

export interface LeaderRoute {
  readonly writes: boolean;
  readonly meta: CallMeta;
  readonly signal: AbortSignal;
  /** Runs the handler on this node, which leads. */
  readonly runHere: (meta: CallMeta) => Promise<unknown>;
  readonly forward: (leaderId: number, meta: CallMeta, signal: AbortSignal) => Promise<unknown>;
}

/** Errors after which the same call may succeed, at another leader or a little later. */
const passing = new Set([
  "NOT_LEADER",
  "NO_LEADER",
  "PROPOSAL_DROPPED",
  "UNREACHABLE",
  "UNAVAILABLE",
  "OUTCOME_UNKNOWN",
  "STOPPED",
  "DEADLINE_EXCEEDED",
  // The leader has not applied yet that this node was admitted.
  "UNKNOWN_PEER",
]);
const backoffMsMin = 10;
const backoffMsMax = 500;

export async function routeToLeader(parts: LeaderRouteParts, route: LeaderRoute): Promise<unknown> {
  const { clock, options } = parts;
  const { meta, signal } = route;
  const endMs = clock.monotonicMs() + meta.timeoutMs;
  const firstIndex = parts.raft.status.value.commitIndex;
  let mayHaveHappened = false;
  let backoffMs = backoffMsMin;
  let last: unknown;
  for (let attempt = 0; attempt < options.forwardAttemptsMax; attempt++) {
    const leftMs = endMs - clock.monotonicMs();
    if (leftMs <= 0 || signal.aborted) break;
    try {
      if (!mayHaveHappened || !route.writes) return await attemptOnce(parts, route, leftMs);
      const again = { ...meta, sinceIndex: meta.sinceIndex ?? firstIndex };
      return await attemptOnce(parts, { ...route, meta: again }, leftMs);
    } catch (error) {
      last = error;
      // Only the node that was asked first retries. The others answer at once with what they know.
      if (meta.hops > 0 || !passing.has(errorCodeOf(error) ?? "")) throw withOutcome(error, route, mayHaveHappened);
      mayHaveHappened ||= isBlixardError(error) && error.outcome !== "not_applied";
      if (signal.aborted) break;
      await pause(parts, backoffMs, signal);
      backoffMs = Math.min(2 * backoffMs, backoffMsMax);
    }
  }
  throw withOutcome(last ?? noLeader(), route, mayHaveHappened);
}

/** May throw at once. */
function attemptOnce(parts: LeaderRouteParts, route: LeaderRoute, leftMs: number): Promise<unknown> {
  const { raft, options } = parts;
  const status = raft.status.value;
  if (status.role === "StateLeader") return status.ready ? route.runHere(route.meta) : runWhenReady(parts, route);
  if (status.leaderId !== 0 && status.leaderId !== options.nodeId) {
    // Only the node itself can make its own call, so the answer says where the leader is instead of passing the call on.
    const hopsMax = route.meta.access === "node" ? 1 : forwardHopsMax;
    if (route.meta.hops >= hopsMax) throw notLeader(status.leaderId);
    return forwardWhileItLeads(parts, route, status.leaderId, Math.min(leftMs, options.forwardAttemptMs));
  }
  if (route.meta.hops > 0) throw noLeader();
  return waitForLeader(parts, route, leftMs);
}

async function runWhenReady({ raft }: LeaderRouteParts, route: LeaderRoute): Promise<unknown> {
  const { signal } = route;
  const settled = await raft.status.until((next) => next.ready || next.role !== "StateLeader", { signal });
  if (settled.role !== "StateLeader") throw notLeader(settled.leaderId);
  return route.runHere(route.meta);
}

/** The next attempt may find one. */
async function waitForLeader(parts: LeaderRouteParts, route: LeaderRoute, leftMs: number): Promise<never> {
  const { raft, options, clock } = parts;
  const waitMs = Math.min(leftMs, options.forwardAttemptMs);
  await withTimeLimit(clock, waitMs, route.signal, (limited) =>
    raft.status.until((next) => next.leaderId !== 0, { signal: limited }),
  ).catch(() => {});
  throw noLeader();
}

/** Forwards, and stops waiting when another node leads: the others elect a new leader before a dead one is given up. */
async function forwardWhileItLeads(
  parts: LeaderRouteParts,
  route: LeaderRoute,
  leaderId: number,
  timeoutMs: number,
): Promise<unknown> {
  const { status } = parts.raft;
  const link = linkSignal(route.signal);
  let stopLooking = () => {};
  try {
    return await new Promise((resolve, reject) => {
      const lost = () => {
        reject(new BlixardError("OUTCOME_UNKNOWN", `node ${leaderId} no longer leads`, { outcome: "unknown" }));
        link.abort();
      };
      stopLooking = status.whenNext((next) => next.leaderId !== leaderId, lost);
      // What carries the call may not listen to its signal.
      onAbort(link.signal, () => reject(abortReason(link.signal)));
      route.forward(leaderId, { ...route.meta, timeoutMs }, link.signal).then(resolve, reject);
    });
  } finally {
    stopLooking();
    link.release();
  }
}

/** Waits a little less when the leader is found or changes meanwhile. */
async function pause(parts: LeaderRouteParts, delayMs: number, signal: AbortSignal): Promise<void> {
  const { leaderId } = parts.raft.status.value;
  // The caller's loop looks at the signal, so an abort only ends the wait.
  await firstOf(signal, (until) => [
    sleep(parts.clock, delayMs, until),
    parts.raft.status.until((next) => next.leaderId !== leaderId && next.leaderId !== 0, { signal: until }),
  ]).catch(() => {});
}

/** A refusal that is not the state machine's says nothing about an earlier attempt whose answer was lost. */
function withOutcome(error: unknown, route: LeaderRoute, mayHaveHappened: boolean): unknown {
  if (!isBlixardError(error) || (route.writes && isDecided(error))) return error;
  const unknown = route.writes && (mayHaveHappened || error.outcome !== "not_applied");
  const outcome = unknown ? "unknown" : "not_applied";
  return error.outcome === outcome ? error : changedError(error, { outcome });
}

function notLeader(leaderId: number): BlixardError {
  return notApplied("NOT_LEADER", "this node does not lead", {
    ...(leaderId === 0 ? {} : { details: { leaderId } }),
  });
}

export function noLeader(cause?: unknown): BlixardError {
  return notApplied("NO_LEADER", "the cluster has no leader now", {
    cause,
    hint: "It needs a majority of its voters: see blixard cluster status on a node.",
  });
}
