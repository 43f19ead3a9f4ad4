/** The way of VMs from node to node under an operation: each is stopped first, and started when it is known to have stopped. */
import type { CommandBody, OperationRecord, VmRecord, WaitingVm } from "@blixard/protocol";
import { type Reservation, reservationOf } from "../scheduler/usage.ts";
import { hasEnded } from "../state-machine/vm-move.ts";
import type { PlanView } from "./plan-types.ts";

export interface TransitOptions {
  /** VMs that may be under way at once. */
  readonly parallel: number;
  /** The one node that a VM goes to; without it, any other one. */
  readonly to?: (vm: VmRecord) => number | undefined;
}

export class VmTransit {
  readonly #view: PlanView;
  readonly #operation: OperationRecord;
  readonly #options: TransitOptions;
  readonly #reservations: Reservation[] = [];
  readonly steps: CommandBody[] = [];
  readonly waiting: WaitingVm[] = [];
  #underWay = 0;
  /** VMs for which something is still to be done. */
  left = 0;

  constructor(view: PlanView, operation: OperationRecord, options: TransitOptions) {
    this.#view = view;
    this.#operation = operation;
    this.#options = options;
  }

  /** A VM that was stopped for this operation: it goes on when it has stopped, or back when there is no room any more. */
  goOn(vm: VmRecord): void {
    this.#underWay++;
    this.left++;
    const { node } = vm;
    if (node === null) return;
    if (hasEnded(vm)) {
      const place = this.#place(vm);
      this.steps.push(releaseOf(vm, node, place?.nodeId ?? node, place?.reasons ?? ""));
    } else if (!this.#view.isReachable(node)) {
      this.wait(vm, `node ${node} does not answer, so that it may still run there`);
    }
  }

  /** A VM that was started by this operation, until it runs. */
  arrive(vm: VmRecord): void {
    if (vm.phase === "Running" || vm.phase === "Paused" || vm.phase === "Stopped") return;
    if (vm.phase === "Failed") {
      this.wait(vm, `failed on node ${vm.node}: ${vm.reason}${vm.message === "" ? "" : `: ${vm.message}`}`);
      return;
    }
    this.left++;
    this.#underWay++;
    if (vm.phase === "Unknown") this.wait(vm, `node ${vm.node} does not answer`);
  }

  /** Stops a VM that runs, when it is its turn: for a move only where there is room for it. */
  leave(vm: VmRecord, next: "move" | "stay"): void {
    const { isReachable } = this.#view;
    const isLost = vm.node !== null && !isReachable(vm.node);
    if (isLost) this.wait(vm, `node ${vm.node} does not answer`);
    const mayLeave = !isLost && (next === "stay" || this.#place(vm) !== undefined);
    // Of those that come back, one that cannot stays where it is.
    if (mayLeave || this.#options.to === undefined) this.left++;
    if (!mayLeave || this.#underWay >= this.#options.parallel) return;
    this.#underWay++;
    const { name, vmId, fencingEpoch } = vm;
    this.steps.push({ type: "vm.hold", name, vmId, fencingEpoch, operation: this.#operation.id, next });
  }

  /** A VM that stands stopped on the node to which it belongs. */
  start(vm: VmRecord, nodeId: number): void {
    if (!hasEnded(vm)) {
      this.left++;
      return;
    }
    // It starts when its node is back, where that does not answer.
    if (this.#view.isReachable(nodeId) && this.#place(vm) === undefined) return;
    this.left++;
    this.steps.push(releaseOf(vm, nodeId, nodeId, ""));
  }

  wait({ name }: VmRecord, why: string): void {
    this.waiting.push({ vm: name, why: why.slice(0, whyLengthMax) });
  }

  /** Undefined where none fits, which is said. */
  #place(vm: VmRecord) {
    const to = this.#options.to?.(vm);
    const reservations = this.#reservations;
    const place = this.#view.place(vm, { reservations, ...(to === undefined ? {} : { only: to }) });
    if (place.ok) reservations.push(reservationOf(vm, place.nodeId));
    else this.wait(vm, place.message);
    return place.ok ? place : undefined;
  }
}

const whyLengthMax = 512;

export function releaseOf(vm: VmRecord, from: number, to: number, reason: string): CommandBody {
  const { name, vmId, fencingEpoch } = vm;
  return { type: "vm.release", name, vmId, from, fencingEpoch, to, reason };
}
