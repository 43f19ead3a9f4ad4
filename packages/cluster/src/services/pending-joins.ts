/**
 * Machines that asked to join without a ticket and wait for an operator. Only the memory of the leader holds them,
 * because a stranger must not be able to write to the log. A machine that waits asks again every second, so a new
 * leader learns of it at once, and the leader forgets one that gave up.
 */
import { type Clock, notApplied } from "@blixard/common";
import type { ParsedRequestOf, PendingJoin } from "@blixard/protocol";
import { joinLimits } from "../join-limits.ts";
import type { ClusterMetrics } from "../metrics.ts";

export type JoinRequest = ParsedRequestOf<"join.request">;

export const pendingJoinLimits = {
  machinesMax: 64,
  silenceMsMax: joinLimits.pendingSilenceMsMax,
} as const;

interface Waiting {
  readonly request: JoinRequest;
  readonly firstAskedUnixMs: number;
  lastAskedMs: number;
}

export class PendingJoins {
  readonly #clock: Clock;
  readonly #metrics: Pick<ClusterMetrics, "joinsPending">;
  readonly #waiting = new Map<string, Waiting>();

  constructor(clock: Clock, metrics: Pick<ClusterMetrics, "joinsPending">) {
    this.#clock = clock;
    this.#metrics = metrics;
  }

  /** Notes that a machine asks. Returns true at its first request. @throws OVERLOADED when too many wait already */
  ask(request: JoinRequest): boolean {
    this.#forgetSilent();
    const lastAskedMs = this.#clock.monotonicMs();
    const before = this.#waiting.get(request.endpointId);
    if (before === undefined && this.#waiting.size >= pendingJoinLimits.machinesMax) {
      throw notApplied("OVERLOADED", `${this.#waiting.size} machines wait for an operator already`, {
        hint: "Join with a ticket: blixard ticket create",
      });
    }
    const firstAskedUnixMs = before?.firstAskedUnixMs ?? this.#clock.unixMs();
    this.#waiting.set(request.endpointId, { request, firstAskedUnixMs, lastAskedMs });
    this.#metrics.joinsPending.set(this.#waiting.size);
    return before === undefined;
  }

  /** The request of a machine; undefined when the machine does not wait. */
  get(endpointId: string): JoinRequest | undefined {
    this.#forgetSilent();
    return this.#waiting.get(endpointId)?.request;
  }

  delete(endpointId: string): void {
    this.#waiting.delete(endpointId);
    this.#metrics.joinsPending.set(this.#waiting.size);
  }

  list(): PendingJoin[] {
    this.#forgetSilent();
    return [...this.#waiting.values()].map(({ request, firstAskedUnixMs }) => ({
      nodeId: request.nodeId,
      name: request.nodeName ?? `n${request.nodeId}`,
      endpointId: request.endpointId,
      addresses: request.addresses,
      version: request.version,
      firstAskedUnixMs,
    }));
  }

  #forgetSilent(): void {
    const oldestMs = this.#clock.monotonicMs() - pendingJoinLimits.silenceMsMax;
    for (const [endpointId, { lastAskedMs }] of this.#waiting) {
      if (lastAskedMs < oldestMs) this.#waiting.delete(endpointId);
    }
    this.#metrics.joinsPending.set(this.#waiting.size);
  }
}
