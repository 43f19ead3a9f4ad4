/** The next steps of the resumption of a node: VMs that a drain took from there come back, and those that it stopped start. */
import type { PlannedVm, VmRecord } from "@blixard/protocol";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { wantsToRun } from "../state-machine/vm-move.ts";
import {
  cancelled,
  countOf,
  lateEnd,
  type NodeOperation,
  type OperationPlan,
  type PlanView,
  percentOf,
} from "./plan-types.ts";
import { VmTransit } from "./vm-transit.ts";

/** The VMs that belong on the node, by name. */
export function homeward(state: ClusterState, nodeId: number): VmRecord[] {
  return sortedRecords(state, "vms").filter(({ home, node }) => home?.node === nodeId && node !== null);
}

export function planResume(view: PlanView, operation: NodeOperation): OperationPlan {
  const { nodeId, vms, drain } = operation;
  const { state } = view;
  const node = state.nodes.get(nodeKey(nodeId));
  if (node === undefined) return cancelled(`node ${nodeId} was removed`);
  if (node.cordoned) return cancelled(`node ${nodeId} was cordoned again`);
  const transit = new VmTransit(view, operation, { parallel: drain?.parallel ?? 1, to: () => nodeId });
  let back = 0;
  for (const name of vms) {
    const vm = state.vms.get(name);
    if (vm === undefined || vm.home !== undefined || vm.node !== nodeId || !wantsToRun(vm)) continue;
    back++;
    transit.arrive(vm);
  }
  const home = homeward(state, nodeId);
  for (const vm of home) {
    if (vm.held?.operation === operation.id) transit.goOn(vm);
    else if (vm.held !== undefined && vm.node === nodeId) transit.start(vm, nodeId);
  }
  for (const vm of home) if (vm.held === undefined && vm.node !== nodeId && wantsToRun(vm)) transit.leave(vm, "move");
  const { steps, waiting, left, failure } = transit;
  const message = `${countOf(back)} back, ${left} left`;
  const plan = { steps, percent: percentOf(left, vms.length), message, waiting };
  if (failure !== undefined) return { ...plan, end: { state: "failed", error: failure } };
  if (left > 0) return { ...plan, ...lateEnd(operation, view.nowUnixMs, left) };
  return { ...plan, end: { state: "done" } };
}

/** What a resumption would do now. */
export function foreseeResume(view: PlanView, nodeId: number): PlannedVm[] {
  return homeward(view.state, nodeId).map((vm): PlannedVm => {
    if (vm.node === nodeId) return { vm: vm.name, action: "start", why: "a drain has stopped it" };
    return { vm: vm.name, action: "move", why: `a drain has taken it to node ${vm.node}`, to: nodeId };
  });
}
