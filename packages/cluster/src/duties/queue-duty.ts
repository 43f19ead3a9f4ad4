/**
 * The leader places VMs that wait for room, as soon as a node can take them: those of the highest priority first, and of these
 * the oldest. One that still fits nowhere holds up none behind it. It looks at levels, so a new leader goes on where the last
 * one stopped.
 */
import { errorCodeOf, isBlixardError, messageOf, withTimeLimit } from "@blixard/common";
import { type CommandBody, isQueued, priorityOf, type VmRecord } from "@blixard/protocol";
import { nodeMeta } from "../calls/peer-calls.ts";
import type { StateVersion } from "../cluster-state-machine.ts";
import type { NodeParts } from "../node-parts.ts";
import type { PlacementDecision } from "../scheduler/scheduler-types.ts";
import { reservationOf } from "../scheduler/usage.ts";
import { placeVm, preemptionFor } from "../services/place-vm.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { hasEnded, policyOf } from "../state-machine/vm-move.ts";

/** What this duty uses of the node. */
type QueueParts = Pick<
  NodeParts,
  | "clock"
  | "logger"
  | "metrics"
  | "options"
  | "raft"
  | "transport"
  | "stateMachine"
  | "proposals"
  | "leases"
  | "reservations"
>;

const stepTimeoutMs = 5_000;
/** While VMs wait: which nodes answer, and have a watchdog, does not stand in the state. */
const lookMs = 1_000;
/** A record says anew why its VM waits once in so long, because the numbers in the reason change with every other VM. */
const reasonMs = 10_000;

export class QueueDuty {
  readonly #parts: QueueParts;

  constructor(parts: QueueParts) {
    this.#parts = parts;
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { raft, clock, logger, stateMachine, metrics } = this.#parts;
    while (!signal.aborted) {
      await raft.status.until((status) => status.ready, { signal }).catch(() => {});
      if (signal.aborted) return;
      const seen = queueIndex(stateMachine.version.value);
      let waiting = 0;
      try {
        waiting = await this.#round(signal);
      } catch (error) {
        if (signal.aborted) return;
        waiting = 1;
        metrics.dutyFailures.add(1, { duty: "queue" });
        const fields = { code: errorCodeOf(error), error: messageOf(error) };
        logger.log("warn", "VMs that wait for room could not be placed; it is tried again", fields);
      }
      const limit = waiting === 0 ? {} : { limit: { clock, delayMs: lookMs } };
      const isNews = (next: StateVersion) => queueIndex(next) !== seen;
      await stateMachine.version.until(isNews, { signal, ...limit }).catch(() => {});
    }
  }

  /** Resolves with the number of VMs that still wait. */
  async #round(signal: AbortSignal): Promise<number> {
    const { stateMachine, raft } = this.#parts;
    // VMs that ask for the same fit alike, until one of them is placed.
    const refused = new Map<string, PlacementDecision>();
    let waiting = 0;
    let makesRoom = false;
    for (const { name } of queueOf(stateMachine.state)) {
      // Whoever leads again looks anew.
      if (raft.coreStatus().role !== "StateLeader") return waiting + 1;
      const vm = stateMachine.state.vms.get(name);
      if (vm === undefined || !isQueued(vm)) continue;
      const key = JSON.stringify([vm.spec, vm.labels, vm.lossPolicy]);
      const decision = refused.get(key) ?? this.#decisionFor(vm);
      if (decision.ok && (await this.#place(vm, decision, signal))) {
        refused.clear();
        continue;
      }
      waiting++;
      if (decision.ok) continue;
      refused.set(key, decision);
      await this.#sayWhy(vm, decision.message, signal);
      // One after the other, so that the room is that of whom it was made for.
      if (!makesRoom) makesRoom = await this.#makeRoom(vm, signal);
    }
    return waiting;
  }

  #decisionFor(vm: VmRecord): PlacementDecision {
    const { stateMachine, reservations } = this.#parts;
    const image = stateMachine.state.images.get(vm.spec.image);
    if (image === undefined) {
      const message = `there is no image ${vm.spec.image}`;
      return { ok: false, code: "NO_CAPACITY", message, hint: "See: blixard image list", nodes: [] };
    }
    return placeVm(this.#parts, vm, image, { moves: policyOf(vm).onNodeLoss === "move", reservations });
  }

  async #place(vm: VmRecord, decision: PlacementDecision & { ok: true }, signal: AbortSignal): Promise<boolean> {
    const { logger, reservations } = this.#parts;
    const { nodeId, reasons } = decision;
    const reservation = reservationOf(vm, nodeId);
    reservations.add(reservation);
    try {
      const placed = await this.#decide({ ...commandFor(vm), node: nodeId, reason: reasons }, signal);
      if (placed) logger.log("info", "there is room for a VM that waited", { vm: vm.name, node: nodeId });
      return placed;
    } finally {
      reservations.delete(reservation);
    }
  }

  async #sayWhy(vm: VmRecord, reason: string, signal: AbortSignal): Promise<void> {
    const isNew = this.#parts.clock.unixMs() - vm.updatedUnixMs < reasonMs;
    if (vm.message === reason || isNew) return;
    await this.#decide({ ...commandFor(vm), reason }, signal);
  }

  /** Stops VMs that may be preempted, for one of a higher priority. True when some are on their way. */
  async #makeRoom(vm: VmRecord, signal: AbortSignal): Promise<boolean> {
    const { stateMachine, logger } = this.#parts;
    const { state } = stateMachine;
    const isStopping = (other: VmRecord) => other.preempted?.by === vm.name && !hasEnded(other);
    if ([...state.vms.values()].some(isStopping)) return true;
    const image = state.images.get(vm.spec.image);
    const plan = image === undefined ? undefined : preemptionFor(this.#parts, vm, image);
    if (plan === undefined) return false;
    logger.log("info", "VMs of a lower priority make room for one that waits", {
      vm: vm.name,
      node: plan.nodeId,
      stopped: plan.victims.map(({ name }) => name).join(", "),
    });
    for (const victim of plan.victims) {
      const other = stateMachine.state.vms.get(victim.name);
      if (other === undefined) continue;
      const { name, vmId, fencingEpoch } = other;
      await this.#decide({ type: "vm.preempt", name, vmId, fencingEpoch, by: vm.name }, signal);
    }
    return true;
  }

  /** False when the VM is another one by now. @throws when it is not known what has become of it */
  async #decide(body: CommandBody, signal: AbortSignal): Promise<boolean> {
    const { options, clock, proposals, logger } = this.#parts;
    const meta = { ...nodeMeta(options.nodeId, "", stepTimeoutMs), actor: { kind: "system", id: "leader" } } as const;
    try {
      await withTimeLimit(clock, stepTimeoutMs, signal, (limited) =>
        proposals.propose(body, { meta, signal: limited }),
      );
      return true;
    } catch (error) {
      if (!isBlixardError(error) || error.outcome !== "not_applied") throw error;
      logger.log("info", "a VM that waits for room was not placed", { error: error.message });
      return false;
    }
  }
}

function commandFor({ name, vmId, fencingEpoch }: VmRecord) {
  return { type: "vm.place", name, vmId, fencingEpoch } as const;
}

/** The VMs that wait for room, in the order in which they are placed. */
export function queueOf({ vms }: Pick<ClusterState, "vms">): VmRecord[] {
  return [...vms.values()]
    .filter(isQueued)
    .sort((a, b) => priorityOf(b.spec) - priorityOf(a.spec) || a.createdIndex - b.createdIndex);
}

/** The index at which something changed last on which the places of VMs depend. */
function queueIndex({ changed }: StateVersion): number {
  const { nodes, vms, volumes, images, cluster } = changed;
  return Math.max(nodes, vms, volumes, images, cluster);
}
