/**
 * What a leader does beside answering: it brings the Raft configuration to the node records, raises the
 * feature level of the cluster when all members understand a higher one, and marks the VMs of nodes
 * that it cannot reach. It looks at levels, not at events, so a new leader goes on where the last one stopped.
 */
import { errorCodeOf, messageOf, withTimeLimit } from "@blixard/common";
import { type CommandBody, type NodeRecord, nodeReachable } from "@blixard/protocol";
import { asNodeId, type ProgressStatus } from "@blixard/raft";
import { nodeMeta } from "../calls/peer-calls.ts";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import { bestSuccessor } from "../peers/successor.ts";
import { nextLevel } from "../state-machine/level.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { type MembershipStep, planMembership } from "./membership-plan.ts";
import { dutyIndex, waitForDuty } from "./wait-for-duty.ts";

/** What this duty uses of the node. */
type LeaderDutyParts = Pick<
  NodeParts,
  "clock" | "logger" | "metrics" | "options" | "raft" | "transport" | "stateMachine" | "proposals"
>;

/** Longest time for one step of the duties. */
const stepTimeoutMs = 5_000;

export class LeaderDuties {
  readonly #parts: LeaderDutyParts;
  /** Since when a node has not answered, in time in which this one could have heard it. Forgotten with the leadership. */
  readonly #silentSinceMs = new Map<number, number>();
  /** The commit index when a learner was first seen to answer. Forgotten with the leadership. */
  readonly #catchUpTo = new Map<number, number>();

  constructor(parts: LeaderDutyParts) {
    this.#parts = parts;
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { raft, logger, options, stateMachine } = this.#parts;
    while (!signal.aborted) {
      if (!raft.status.value.ready) {
        this.#silentSinceMs.clear();
        this.#catchUpTo.clear();
        await raft.status.until((status) => status.ready, { signal }).catch(() => {});
        continue;
      }
      let progressed = false;
      const seen = dutyIndex(stateMachine.version.value);
      try {
        progressed = await this.#round(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#parts.metrics.dutyFailures.add(1, { duty: "leader" });
        logger.log("warn", "a duty of the leader failed and is tried again", {
          code: errorCodeOf(error),
          error: messageOf(error),
        });
      }
      // What was just changed may make the next step possible: look again at once.
      if (!progressed) await waitForDuty(this.#parts, seen, options.leaderIntervalMs, signal);
    }
  }

  async #round(signal: AbortSignal): Promise<boolean> {
    const { raft, stateMachine, options } = this.#parts;
    const status = raft.status.value;
    const { progress } = raft.coreStatus();
    this.#noteLearners(progress, status.commitIndex);
    const step = planMembership({
      selfId: options.nodeId,
      nodes: [...stateMachine.state.nodes.values()],
      confState: status.confState,
      progress,
      commitIndex: status.commitIndex,
      promotionLagEntries: options.promotionLagEntries,
      catchUpTo: this.#catchUpTo,
    });
    if (step !== undefined && (await this.#take(step, signal))) return true;
    const level = nextLevel(stateMachine.state, options.featureLevel);
    if (level !== undefined) {
      await this.#decide({ type: "cluster.setLevel", level }, signal);
      this.#parts.logger.log("info", "all members understand a higher feature level", { level });
      return true;
    }
    return this.#markSilentNodes(signal);
  }

  #noteLearners(progress: readonly ProgressStatus[], commitIndex: number): void {
    const answering = new Set(
      progress.filter(({ learner, match }) => learner && match > 0).map(({ id }) => id as number),
    );
    for (const id of this.#catchUpTo.keys()) if (!answering.has(id)) this.#catchUpTo.delete(id);
    for (const id of answering) if (!this.#catchUpTo.has(id)) this.#catchUpTo.set(id, commitIndex);
  }

  async #take(step: MembershipStep, signal: AbortSignal): Promise<boolean> {
    const { raft, logger } = this.#parts;
    switch (step.type) {
      case "configure": {
        logger.log("info", "changing the Raft configuration", { op: step.op, nodeId: step.nodeId });
        const changes = [{ op: step.op, id: asNodeId(step.nodeId) }];
        // The change of the member's record already decided that the quorum survives this.
        const change = { version: 1, transition: "auto", changes } as const;
        await this.#limited(signal, (limited) => raft.proposeConfChange(change, { signal: limited, force: true }));
        return true;
      }
      case "readmit":
        logger.log("info", "a node that lost its store starts anew as a learner", { nodeId: step.nodeId });
        await this.#decide({ type: "node.update", nodeId: step.nodeId, rejoined: true }, signal);
        return true;
      case "removeRecord":
        await this.#decide({ type: "node.remove", nodeId: step.nodeId }, signal);
        return true;
      case "handOver": {
        const successor = bestSuccessor(this.#parts);
        if (successor === undefined) return false;
        await this.#limited(signal, (limited) => raft.transferLeader(asNodeId(successor), { signal: limited }));
        return true;
      }
      default:
        return step satisfies never;
    }
  }

  /** Marks the VMs of a silent node as Unknown. They stay where they are, because nobody knows whether they still run. */
  async #markSilentNodes(signal: AbortSignal): Promise<boolean> {
    let changed = false;
    const { nodes } = this.#parts.stateMachine.state;
    for (const id of this.#silentSinceMs.keys()) if (!nodes.has(nodeKey(id))) this.#silentSinceMs.delete(id);
    for (const node of sortedRecords(this.#parts.stateMachine.state, "nodes")) {
      const reachable = this.#isReachableForNow(node);
      if (reachable === undefined || !this.#needsMark(node.id, reachable)) continue;
      await this.#decide({ type: "node.liveness", nodeId: node.id, reachable }, signal);
      changed = true;
    }
    return changed;
  }

  /** Returns undefined while a node has been silent for only a short time. */
  #isReachableForNow(node: NodeRecord): boolean | undefined {
    if (isReachable(this.#parts, node.id)) {
      this.#silentSinceMs.delete(node.id);
      return true;
    }
    const nowMs = this.#parts.clock.runnableMs();
    const sinceMs = this.#silentSinceMs.get(node.id) ?? nowMs;
    this.#silentSinceMs.set(node.id, sinceMs);
    return nowMs - sinceMs >= this.#parts.options.unknownAfterMs ? false : undefined;
  }

  #needsMark(nodeId: number, reachable: boolean): boolean {
    for (const vm of this.#parts.stateMachine.state.vms.values()) {
      if (vm.node !== nodeId) continue;
      const marked = vm.conditions.some((condition) => condition.type === nodeReachable);
      if (marked === reachable) return true;
    }
    return false;
  }

  async #decide(body: CommandBody, signal: AbortSignal): Promise<void> {
    const { options } = this.#parts;
    const meta = { ...nodeMeta(options.nodeId, "", stepTimeoutMs), actor: { kind: "system", id: "leader" } } as const;
    await this.#limited(signal, (limited) => this.#parts.proposals.propose(body, { meta, signal: limited }));
  }

  #limited<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return withTimeLimit(this.#parts.clock, stepTimeoutMs, signal, work);
  }
}
