/**
 * Adds and removes members by the steps of thesis section 4.2.
 *
 *     no member --addLearner--> learner --(round, round, ... until one is short)--> caught up --addVoter--> voter
 *
 * A learner has no vote, so the group commits without it however long it takes to catch up.
 */
import { abortReason, BlixardError, type Clock, notApplied, sleep } from "@blixard/common";
import type { ConfChange, ConfChangeOp, ConfState, LogIndex, NodeId, ProgressStatus, Status } from "../core/types.ts";
import { notLeader } from "../proposals/proposal-errors.ts";
import type { AddOptions, ConfChangeOptions, RaftNodeStatus } from "../raft-node-types.ts";
import { isMember } from "./configuration.ts";
import type { MemberProgress } from "./member-progress.ts";

const catchUpTimeoutMsDefault = 10 * 60_000;

export interface MemberChangesDeps {
  readonly clock: Clock;
  readonly status: () => RaftNodeStatus;
  readonly coreStatus: () => Status;
  readonly isActive: (id: NodeId) => boolean;
  readonly propose: (change: ConfChange, options: ConfChangeOptions) => Promise<ConfState>;
  readonly onProgress: (id: NodeId, progress: MemberProgress) => void;
  /** Milliseconds between two checks of the progress. */
  readonly pollIntervalMs: number;
  readonly electionTimeoutMs: number;
}

export class MemberChanges {
  readonly #deps: MemberChangesDeps;

  constructor(deps: MemberChangesDeps) {
    this.#deps = deps;
  }

  async add(id: NodeId, options: AddOptions): Promise<ConfState> {
    const { as = "voter", signal } = options;
    if (signal?.aborted) throw abortReason(signal);
    this.#assertLeader();
    const { voters, learners } = this.#confState;
    const report = (progress: MemberProgress) => {
      this.#deps.onProgress(id, progress);
      options.onProgress?.(progress);
    };
    if (voters.includes(id) && as === "learner") {
      throw notApplied("CONFLICT", `node ${id} is a voter; remove it first`);
    }
    if (!voters.includes(id)) {
      if (!learners.includes(id)) {
        report({ stage: "adding" });
        await this.#change({ op: "addLearner", id }, options);
      }
      if (as === "voter") {
        await this.#catchUp(id, options, report);
        report({ stage: "promoting" });
        await this.#change({ op: "addVoter", id }, options);
      }
    }
    report({ stage: "done" });
    return this.#confState;
  }

  async remove(id: NodeId, options: ConfChangeOptions): Promise<ConfState> {
    if (!isMember(this.#confState, id)) return this.#confState;
    return this.#change({ op: "remove", id }, options);
  }

  get #confState(): ConfState {
    return this.#deps.status().confState;
  }

  #assertLeader(): void {
    const { role, leaderId } = this.#deps.status();
    if (role !== "StateLeader") throw notLeader(leaderId);
  }

  #change(op: ConfChangeOp, { signal, force = false }: ConfChangeOptions): Promise<ConfState> {
    const change = { version: 1, transition: "auto", changes: [op] } as const;
    return this.#deps.propose(change, { force, ...(signal === undefined ? {} : { signal }) });
  }

  /** Resolves when a round took less than an election timeout: the group then waits no longer for the new voter. */
  async #catchUp(id: NodeId, options: AddOptions, report: (progress: MemberProgress) => void): Promise<void> {
    const { clock, pollIntervalMs, electionTimeoutMs } = this.#deps;
    const timeoutMs = options.catchUpTimeoutMs ?? catchUpTimeoutMsDefault;
    const startedAtMs = clock.monotonicMs();
    let round = { number: 1, targetIndex: this.#deps.status().commitIndex, startedAtMs };
    let last = "";
    for (;;) {
      this.#assertLeader();
      const peer = this.#deps.coreStatus().progress.find((one) => one.id === id);
      if (peer === undefined) {
        throw notApplied("CONFLICT", `node ${id} was removed while it caught up`);
      }
      const nowMs = clock.monotonicMs();
      if (peer.match >= round.targetIndex && peer.match > 0) {
        if (nowMs - round.startedAtMs <= electionTimeoutMs) return;
        round = { number: round.number + 1, targetIndex: this.#deps.status().commitIndex, startedAtMs: nowMs };
        continue;
      }
      const progress = progressOf(peer, round.number, round.targetIndex, this.#deps.isActive(id));
      const text = JSON.stringify(progress);
      if (text !== last) report(progress);
      last = text;
      if (nowMs - startedAtMs >= timeoutMs) throw tooSlow(id, progress, timeoutMs);
      await sleep(clock, pollIntervalMs, options.signal);
    }
  }
}

function progressOf(
  peer: ProgressStatus,
  round: number,
  targetIndex: LogIndex,
  active: boolean,
): Extract<MemberProgress, { stage: "catching_up" }> {
  const by = peer.state === "StateSnapshot" ? "snapshot" : "entries";
  return { stage: "catching_up", round, matchIndex: peer.match, targetIndex, by, active };
}

function tooSlow(
  id: NodeId,
  { active, matchIndex, targetIndex, by }: Extract<MemberProgress, { stage: "catching_up" }>,
  timeoutMs: number,
): BlixardError {
  const where = `it has the log up to ${matchIndex} of ${targetIndex}`;
  const reason = active ? `${where}; it is being sent ${by}` : `nothing is heard of it; ${where}`;
  return new BlixardError("DEADLINE_EXCEEDED", `node ${id} did not catch up within ${timeoutMs} ms: ${reason}`, {
    outcome: "unknown",
    hint: "It stays a learner. Add it again to go on, or remove it.",
    details: { matchIndex, targetIndex, active },
  });
}
