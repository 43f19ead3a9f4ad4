/**
 * The next steps of a drain. A VM without data of its own is started on another node, where that is what becomes of it when its
 * node is lost; any other one is stopped where it is. All, or single ones, may be given another way; with `migrate` a VM takes its disks along.
 */
import type { DrainMode, DrainWish, PlannedVm, VmRecord } from "@blixard/protocol";
import { type Reservation, reservationOf } from "../scheduler/usage.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { hasEnded, keepsData, policyOf, wantsToRun } from "../state-machine/vm-move.ts";
import {
  cancelled,
  countOf,
  lateEnd,
  type NodeOperation,
  type OperationPlan,
  type PlanView,
  percentOf,
} from "./plan-types.ts";
import { carryRefusal, VmTransit } from "./vm-transit.ts";

const noWish: DrainWish = { vmModes: [], parallel: 1 };

export function planDrain(view: PlanView, operation: NodeOperation): OperationPlan {
  const { id, nodeId, drain = noWish } = operation;
  const { state } = view;
  const node = state.nodes.get(nodeKey(nodeId));
  if (node === undefined) return cancelled(`node ${nodeId} was removed`);
  if (!node.cordoned) return cancelled(`node ${nodeId} was uncordoned`);
  const transit = new VmTransit(view, operation, { parallel: drain.parallel });
  const vms = sortedRecords(state, "vms");
  // What is under way takes its place before anything else sets out.
  for (const vm of vms) {
    if (vm.held?.operation === id && vm.held.next === "move") transit.goOn(vm);
    else if (vm.home?.operation === id && vm.node !== nodeId && wantsToRun(vm)) transit.arrive(vm);
  }
  for (const vm of vms) {
    const isMine = vm.held?.operation === id && vm.held.next === "move";
    if (vm.node === nodeId && !isMine) leave(view, transit, vm, drain);
  }
  return planned(view, operation, transit);
}

function leave(view: PlanView, transit: VmTransit, vm: VmRecord, drain: DrainWish): void {
  if (!wantsToRun(vm)) {
    // One that another operation moves is not at its end.
    if (vm.desired === "stopped" && hasEnded(vm) && vm.held?.next !== "move") return;
    transit.left++;
    if (vm.node !== null && !view.isReachable(vm.node)) transit.wait(vm, `node ${vm.node} does not answer`);
    return;
  }
  const mode = modeOf(vm, drain);
  if (mode === "restart" && keepsData(view.state, vm)) {
    transit.left++;
    transit.wait(vm, dataText(vm));
  } else transit.leave(vm, mode === "stop" ? "stay" : "move");
}

function planned(view: PlanView, operation: NodeOperation, transit: VmTransit): OperationPlan {
  const { nodeId, vms } = operation;
  const { steps, waiting, left, failure } = transit;
  const mine = sortedRecords(view.state, "vms").filter(({ home }) => home?.operation === operation.id);
  const moved = mine.filter(({ node }) => node !== nodeId).length;
  const message = `${countOf(moved)} moved, ${mine.length - moved} stopped, ${left} left`;
  const plan = { steps, percent: percentOf(left, vms.length), message, waiting };
  if (failure !== undefined) return { ...plan, end: { state: "failed", error: failure } };
  if (left > 0) return { ...plan, ...lateEnd(operation, view.nowUnixMs, left) };
  if (waiting.length === 0) return { ...plan, end: { state: "done" } };
  const error = { code: "VM_DRIVER_FAILED", message: `${countOf(waiting.length)} failed on another node` };
  return { ...plan, end: { state: "failed", error } };
}

/** How a VM leaves its node. */
export function modeOf(vm: VmRecord, { mode, vmModes }: Pick<DrainWish, "mode" | "vmModes">): DrainMode {
  const own = vmModes.find((given) => given.vm === vm.name)?.mode;
  return own ?? mode ?? (policyOf(vm).effect === "moves" ? "restart" : "stop");
}

export function dataText({ node }: Pick<VmRecord, "node">): string {
  return `its data are on node ${node}, so that it cannot start on another one`;
}

/** What a drain would do now with each VM of the node. */
export function foreseeDrain(view: PlanView, nodeId: number, wish: Pick<DrainWish, "mode" | "vmModes">): PlannedVm[] {
  const reservations: Reservation[] = [];
  return sortedRecords(view.state, "vms")
    .filter(({ node }) => node === nodeId)
    .map((vm): PlannedVm => {
      if (!wantsToRun(vm)) return { vm: vm.name, action: "stay", why: `it is to be ${vm.desired}` };
      if (modeOf(vm, wish) === "stop") return { vm: vm.name, action: "stop", why: whyStopped(view.state, vm, wish) };
      const copies = keepsData(view.state, vm);
      const refusal = copies && modeOf(vm, wish) === "restart" ? dataText(vm) : carryRefusal(view.state, vm);
      if (refusal !== undefined) return { vm: vm.name, action: "stay", why: refusal };
      const place = view.place(vm, { reservations });
      if (!place.ok) return { vm: vm.name, action: "stay", why: place.message };
      reservations.push(reservationOf(vm, place.nodeId));
      const why = copies ? `with its disks; ${place.reasons}` : place.reasons;
      return { vm: vm.name, action: "move", why, to: place.nodeId };
    });
}

function whyStopped(state: ClusterState, vm: VmRecord, { mode, vmModes }: Pick<DrainWish, "mode" | "vmModes">): string {
  if (mode !== undefined || vmModes.some((given) => given.vm === vm.name)) return "asked for";
  return keepsData(state, vm) ? dataText(vm) : "it waits for its node (onNodeLoss)";
}
