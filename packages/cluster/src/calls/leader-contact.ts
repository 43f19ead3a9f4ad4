/**
 * How long this node has heard no leader. After a while it cannot say any more who still has rights: whoever lost them did so
 * where this node does not hear of it. Then it refuses every token and key of people.
 */
import { type BlixardError, type Clock, firstOf, notApplied, sleep, Watch } from "@blixard/common";
import type { CallMeta } from "@blixard/protocol";
import type { RaftNodeStatus } from "@blixard/raft";

export interface LeaderContactDeps {
  readonly clock: Clock;
  readonly status: Pick<Watch<RaftNodeStatus>, "until" | "value">;
  /** Milliseconds without a leader after which rights are not known any more. */
  readonly rightsWithoutLeaderMs: number;
}

export class LeaderContact {
  readonly #deps: LeaderContactDeps;
  readonly #lost = new Watch(false);

  constructor(deps: LeaderContactDeps) {
    this.#deps = deps;
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, status, rightsWithoutLeaderMs } = this.#deps;
    try {
      while (!signal.aborted) {
        await status.until(({ leaderId }) => leaderId === 0, { signal });
        const heard = (waiting: AbortSignal) => status.until(({ leaderId }) => leaderId !== 0, { signal: waiting });
        await firstOf(signal, (until) => [heard(until), sleep(clock, rightsWithoutLeaderMs, until)]);
        this.#lost.set(status.value.leaderId === 0);
        await heard(signal);
        this.#lost.set(false);
      }
    } catch {
      // The node stops.
    }
  }

  /** Resolves when rights are not known any more; rejects when `signal` aborts. */
  async untilLost(signal: AbortSignal): Promise<void> {
    await this.#lost.until((lost) => lost, { signal });
  }

  /** @throws NO_LEADER for a person or a program while rights are not known */
  assertFor({ actor, hops }: CallMeta): void {
    if (this.#lost.value && actor.kind === "token" && hops === 0) throw this.refusal();
  }

  refusal(): BlixardError {
    const seconds = Math.round(this.#deps.rightsWithoutLeaderMs / 1_000);
    return notApplied(
      "NO_LEADER",
      `this node has heard no leader for ${seconds} s, and cannot say who still has rights`,
      {
        hint: "Ask a node that reaches a majority of the voters. What this node knows of itself: blixard status",
      },
    );
  }
}
