/**
 * The leader starts VMs elsewhere whose node has no lease any more. Where they run is one entry of the log each, with a new
 * fencing epoch. Those that were to stop there have stopped by then, and are said to. It looks at levels, so a new leader goes on where the last one stopped, after the whole time of a lease.
 */
import { errorCodeOf, isBlixardError, messageOf, withTimeLimit } from "@blixard/common";
import type { CommandBody, NodeRecord, VmRecord } from "@blixard/protocol";
import { nodeMeta } from "../calls/peer-calls.ts";
import { dutyIndex, waitForDuty } from "../duties/wait-for-duty.ts";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import { byPriority, placeVm } from "../services/place-vm.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { isEvacuated } from "../state-machine/operation.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { evacuatesFrom, leasesLevel, movesFrom, noNodeFits, settlesOn } from "../state-machine/vm-move.ts";

/** What this duty uses of the node. */
type MoveParts = Pick<
  NodeParts,
  "clock" | "logger" | "metrics" | "options" | "raft" | "transport" | "stateMachine" | "proposals" | "leases"
>;

const stepTimeoutMs = 5_000;

export class MoveDuty {
  readonly #parts: MoveParts;
  /** Since when a node that answers has no lease, in time in which this one could have heard it ask. */
  #awaitedSinceMs: number | undefined;

  constructor(parts: MoveParts) {
    this.#parts = parts;
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { raft, logger, options, stateMachine, metrics } = this.#parts;
    while (!signal.aborted) {
      await raft.status.until((status) => status.ready, { signal }).catch(() => {});
      if (signal.aborted) return;
      const seen = dutyIndex(stateMachine.version.value);
      try {
        await this.#round(signal);
      } catch (error) {
        if (signal.aborted) return;
        metrics.dutyFailures.add(1, { duty: "move" });
        const fields = { code: errorCodeOf(error), error: messageOf(error) };
        logger.log("warn", "VMs of a lost node could not be moved; it is tried again", fields);
      }
      await waitForDuty(this.#parts, seen, options.leaderIntervalMs, signal);
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { stateMachine, leases } = this.#parts;
    if (clusterLevel(stateMachine.state) < leasesLevel) return;
    const nodes = sortedRecords(stateMachine.state, "nodes");
    leases.keepOnly(new Set(nodes.map(({ id }) => id)));
    // Looks at each, so that the count of a new one begins.
    for (const node of nodes.filter((each) => this.#isOver(each))) await this.#moveFrom(node, signal);
  }

  #isOver({ id, longLease }: NodeRecord): boolean {
    const { raft, clock, leases } = this.#parts;
    const { role, term } = raft.coreStatus();
    return role === "StateLeader" && leases.isOver(term, id, clock.monotonicMs(), longLease?.ms);
  }

  async #moveFrom({ id }: NodeRecord, signal: AbortSignal): Promise<void> {
    const { stateMachine, raft, clock, leases } = this.#parts;
    const { term } = raft.coreStatus();
    const leaves = (vm: VmRecord) => settlesOn(vm, id) || movesFrom(vm, id) || this.#evacuates(vm, id);
    const vms = byPriority(sortedRecords(stateMachine.state, "vms").filter(leaves));
    if (vms.length > 0) leases.beginMove(term, id, clock.monotonicMs());
    for (const { name } of vms) {
      const vm = stateMachine.state.vms.get(name);
      // Looked at anew before each: while the last one was waited for, another term may have begun.
      const node = stateMachine.state.nodes.get(nodeKey(id));
      if (raft.coreStatus().term !== term || node === undefined || !this.#isOver(node)) return;
      if (vm === undefined) continue;
      if (settlesOn(vm, id)) await this.#settle(vm, id, signal);
      else if (leaves(vm)) await this.#move(vm, id, signal);
    }
    // All that was proposed is known to be applied, or refused. Otherwise the node gets nothing before the next round.
    leases.moved(term, id, clock.monotonicMs());
  }

  /**
   * A node answers, and has no lease yet: all machines have slept, and so has the leader, who sees all leases end at once. It is
   * about to ask, and nobody is given VMs that would be taken from it again before it can. One that does not ask in the time of
   * a lease is waited for no longer.
   */
  #awaitsLease(): boolean {
    const { stateMachine, leases, clock, options } = this.#parts;
    const awaits = sortedRecords(stateMachine.state, "nodes").some(
      (node) => isReachable(this.#parts, node.id) && leases.unguarded(node.id) === undefined && this.#isOver(node),
    );
    if (!awaits) {
      this.#awaitedSinceMs = undefined;
      return false;
    }
    const nowMs = clock.runnableMs();
    this.#awaitedSinceMs ??= nowMs;
    return nowMs - this.#awaitedSinceMs < options.leaseMs;
  }

  /** A VM that waits for its node, and that somebody wants elsewhere. */
  #evacuates(vm: VmRecord, nodeId: number): boolean {
    const { state } = this.#parts.stateMachine;
    return isEvacuated(state, nodeId) && evacuatesFrom(state, vm, nodeId);
  }

  /** @throws when it is not known whether the VM has ended by an entry of the log */
  async #settle({ name, vmId, fencingEpoch, desired }: VmRecord, from: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#decide({ type: "vm.settle", name, vmId, from, fencingEpoch }, signal);
      this.#parts.logger.log("info", "the lease of a node is over, and so is a VM there", { vm: name, from, desired });
    } catch (error) {
      // Somebody wants something else of it by now.
      if (!isBlixardError(error) || error.outcome !== "not_applied") throw error;
    }
  }

  /** @throws when it is not known whether the VM is given away */
  async #move(vm: VmRecord, from: number, signal: AbortSignal): Promise<void> {
    const { logger, stateMachine } = this.#parts;
    const image = stateMachine.state.images.get(vm.spec.image);
    const place =
      image === undefined
        ? { ok: false as const, message: `there is no image ${vm.spec.image}` }
        : placeVm(this.#parts, vm, image, { moves: true, without: from, hasNoLease: (node) => this.#isOver(node) });
    const reason = place.ok ? place.reasons : place.message;
    if (!place.ok && this.#awaitsLease()) return;
    if (!place.ok && vm.reason === noNodeFits && vm.message === reason) return;
    const { name, vmId, fencingEpoch } = vm;
    const to = {
      ...(place.ok ? { to: place.nodeId } : {}),
      ...(movesFrom(vm, from) ? {} : ({ evacuated: true } as const)),
    };
    try {
      await this.#decide({ type: "vm.move", name, vmId, from, fencingEpoch, reason, ...to }, signal);
      logger.log("info", "the lease of a node is over", { vm: name, from, ...to, reason });
    } catch (error) {
      if (!isBlixardError(error) || error.outcome !== "not_applied") throw error;
      logger.log("info", "a VM of a lost node was not moved", { vm: name, from, error: error.message });
    }
  }

  async #decide(body: CommandBody, signal: AbortSignal): Promise<void> {
    const { options, clock, proposals } = this.#parts;
    const meta = { ...nodeMeta(options.nodeId, "", stepTimeoutMs), actor: { kind: "system", id: "leader" } } as const;
    await withTimeLimit(clock, stepTimeoutMs, signal, (limited) => proposals.propose(body, { meta, signal: limited }));
  }
}
