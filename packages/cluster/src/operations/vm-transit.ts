/** The way of VMs from node to node under an operation: each is stopped first, and started when it is known to have stopped. */
import {
  type CommandBody,
  type DiskCopy,
  limits,
  type OperationRecord,
  type VmRecord,
  type WaitingVm,
} from "@blixard/protocol";
import { type Reservation, reservationOf } from "../scheduler/usage.ts";
import { nodeKey } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { isCopied } from "../state-machine/vm-hold.ts";
import { hasEnded, keepsData } from "../state-machine/vm-move.ts";
import { volumesCarryRefusal } from "../state-machine/volume.ts";
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
  /** Why the disks of a VM cannot be taken where they were to go. */
  failure: NonNullable<OperationRecord["error"]> | undefined;

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
    if (vm.held?.to !== undefined) this.#carry(vm, node, vm.held.to);
    else if (hasEnded(vm)) {
      const place = this.#place(vm);
      this.steps.push(releaseOf(vm, node, place?.nodeId ?? node, place?.reasons ?? ""));
    } else if (!this.#view.isReachable(node)) {
      this.wait(vm, `node ${node} does not answer, so that it may still run there`);
    }
  }

  /** A VM whose disks are taken to another node: it goes there when all of them have come. */
  #carry(vm: VmRecord, from: number, to: number): void {
    const { state, isReachable } = this.#view;
    const { copy } = vm.held ?? {};
    const code = !state.nodes.has(nodeKey(to)) ? "NODE_NOT_FOUND" : copy?.code;
    if (code === "NODE_NOT_FOUND" || copy?.state === "failed") {
      const why = code === "NODE_NOT_FOUND" ? `node ${to} was removed` : (copy?.message ?? "");
      this.failure ??= { code: code ?? "UNAVAILABLE", message: `${vm.name}: ${why}`.slice(0, whyLengthMax) };
    } else if (isCopied(vm)) {
      this.steps.push(releaseOf(vm, from, to, `its disks were taken there from node ${from}`));
    } else if (!isReachable(from)) {
      const may = hasEnded(vm) ? "its disks are there" : "it may still run there";
      this.wait(vm, `node ${from} does not answer, and ${may}`);
    } else if (!isReachable(to)) this.wait(vm, `node ${to} does not answer`);
    else if (copy !== undefined) this.wait(vm, copyText(copy, to));
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
    const place = isLost || next === "stay" ? undefined : this.#place(vm);
    const mayLeave = !isLost && (next === "stay" || place !== undefined);
    // Of those that come back, one that cannot stays where it is.
    if (mayLeave || this.#options.to === undefined) this.left++;
    if (!mayLeave || this.#underWay >= this.#options.parallel) return;
    this.#underWay++;
    const { name, vmId, fencingEpoch } = vm;
    const copies = place !== undefined && keepsData(this.#view.state, vm) ? { to: place.nodeId } : {};
    this.steps.push({ type: "vm.hold", name, vmId, fencingEpoch, operation: this.#operation.id, next, ...copies });
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
    const refusal = carryRefusal(this.#view.state, vm);
    if (refusal !== undefined) {
      this.wait(vm, refusal);
      return undefined;
    }
    const place = this.#view.place(vm, { reservations, ...(to === undefined ? {} : { only: to }) });
    if (place.ok) reservations.push(reservationOf(vm, place.nodeId));
    else this.wait(vm, place.message);
    return place.ok ? place : undefined;
  }
}

/** Why a VM cannot be taken to another node with its disks and volumes; undefined when it can. */
export function carryRefusal(
  state: Pick<ClusterState, "volumes">,
  { spec }: Pick<VmRecord, "spec">,
): string | undefined {
  const stuck = volumesCarryRefusal(state, { spec });
  if (stuck !== undefined) return stuck;
  const large = spec.disks?.find(({ sizeGiB = 0 }) => sizeGiB > limits.diskCopyGiBMax);
  if (large === undefined) return undefined;
  return `its disk ${large.name} has more than the ${limits.diskCopyGiBMax} GiB that are copied at most`;
}

const whyLengthMax = 512;
const bytesPerMiB = 1024 ** 2;

/** How far the node is that takes the disks. */
export function copyText(
  { doneBytes, wholeBytes, bytesPerSecond, message }: DiskCopy,
  to: number,
  what = "its disks go",
): string {
  const mebibytes = (bytes: number) => `${(bytes / bytesPerMiB).toFixed(0)} MiB`;
  const done = `${what} to node ${to}: ${mebibytes(doneBytes)} of ${mebibytes(wholeBytes)}`;
  const rate = bytesPerSecond === 0 ? "" : `, ${mebibytes(bytesPerSecond)}/s`;
  return `${done}${rate}${message === "" ? "" : `; ${message}`}`;
}

export function releaseOf(vm: VmRecord, from: number, to: number, reason: string): CommandBody {
  const { name, vmId, fencingEpoch } = vm;
  return { type: "vm.release", name, vmId, from, fencingEpoch, to, reason };
}
