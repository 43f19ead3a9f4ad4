/** Handing leadership over: on request, and before a node stops, so that the others need not wait for an election. */
import { abortReason, BlixardError, type Clock, type Logger, messageOf, sleep, withDeadline } from "@blixard/common";
import type { NodeId } from "./core/types.ts";
import { notLeader } from "./proposals/proposal-errors.ts";
import type { RaftNode, SignalOptions } from "./raft-node-types.ts";

export interface HandOverDeps {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly status: RaftNode<unknown>["status"];
  /** Asks the core to transfer; runs on the loop. */
  readonly begin: (to: NodeId) => void;
}

/** Resolves when this node follows `to`. @throws NOT_LEADER, INVALID_ARGUMENT, DEADLINE_EXCEEDED */
export async function handOver(deps: HandOverDeps, to: NodeId, options: SignalOptions): Promise<void> {
  const { clock, timeoutMs, status } = deps;
  if (options.signal?.aborted) throw abortReason(options.signal);
  const { role, leaderId, confState } = status.value;
  if (role !== "StateLeader") throw notLeader(leaderId);
  if (!confState.voters.includes(to)) throw new BlixardError("INVALID_ARGUMENT", `node ${to} is not a voter`);
  deps.begin(to);
  await withDeadline({ clock, timeoutMs, what: `handing leadership to ${to}`, ...options }, (signal) =>
    status.until((now) => now.leaderId === to, { signal }),
  );
}

export interface LeavingDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timeoutMs: number;
  readonly pollIntervalMs: number;
  /** Resolves after a turn of the loop, which gave all earlier proposals to the core. */
  readonly turn: () => Promise<void>;
  /** The node that should lead next; undefined when this node does not lead or no other node can. */
  readonly successor: () => NodeId | undefined;
  readonly transfer: (to: NodeId, signal: AbortSignal) => Promise<void>;
  /** Whether there are proposals without an outcome. */
  readonly isBusy: () => boolean;
}

/** Hands leadership over and waits for the outcome of open proposals. Never rejects: the node stops in any case. */
export async function leave(deps: LeavingDeps): Promise<void> {
  const { clock, timeoutMs, pollIntervalMs } = deps;
  try {
    await withDeadline({ clock, timeoutMs, what: "leaving the leadership" }, async (signal) => {
      await deps.turn();
      const successor = deps.successor();
      if (successor !== undefined) await deps.transfer(successor, signal);
      while (deps.isBusy()) await sleep(clock, pollIntervalMs, signal);
    });
  } catch (error) {
    deps.logger.log("warn", "the node stops before it could leave in good order", { reason: messageOf(error) });
  }
}
