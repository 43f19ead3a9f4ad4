/**
 * How far the evacuation of a lost node is. The moves themselves are those of the duty that moves VMs when a lease is over: with
 * an evacuation it also takes VMs that would wait for their node, and have ended there without leaving data.
 */
import type { PlannedVm, VmRecord } from "@blixard/protocol";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import {
  evacuatesFrom,
  hasEnded,
  keepsData,
  movesFrom,
  noNodeFits,
  policyOf,
  settlesOn,
  wantsToRun,
} from "../state-machine/vm-move.ts";
import { dataText } from "./drain-plan.ts";
import { cancelled, countOf, type NodeOperation, type OperationPlan, type PlanView, percentOf } from "./plan-types.ts";

export function planEvacuation(view: PlanView, operation: NodeOperation): OperationPlan {
  const { nodeId, vms } = operation;
  const { state } = view;
  if (!state.nodes.has(nodeKey(nodeId))) return cancelled(`node ${nodeId} was removed`);
  if (view.isReachable(nodeId)) return cancelled(`node ${nodeId} answers again, and keeps the VMs that are on it`);
  const present = sortedRecords(state, "vms").filter(({ node }) => node === nodeId);
  let left = 0;
  const waiting = present.map((vm) => {
    if (leaves(state, vm, nodeId) || settlesOn(vm, nodeId)) left++;
    return { vm: vm.name, why: whyThere(view, vm, nodeId).slice(0, whyLengthMax) };
  });
  const gone = vms.filter((name) => state.vms.get(name)?.node !== nodeId).length;
  const stays = waiting.length - left;
  const message = `${countOf(gone)} off node ${nodeId}, ${left} left, ${stays} ${stays === 1 ? "waits" : "wait"} for it`;
  const plan = { steps: [], percent: percentOf(left, gone + left), message, waiting };
  return left === 0 ? { ...plan, end: { state: "done" } } : plan;
}

const whyLengthMax = 512;

function leaves(state: ClusterState, vm: VmRecord, nodeId: number): boolean {
  return movesFrom(vm, nodeId) || evacuatesFrom(state, vm, nodeId);
}

/** Why a VM is still on the lost node. */
function whyThere(
  { state, isLeaseOver }: Pick<PlanView, "state" | "isLeaseOver">,
  vm: VmRecord,
  nodeId: number,
): string {
  if (leaves(state, vm, nodeId) || settlesOn(vm, nodeId)) {
    if (!isLeaseOver(nodeId)) return `the lease of node ${nodeId} is not over, so that it may still run there`;
    return vm.reason === noNodeFits ? vm.message : "it is about to leave";
  }
  if (policyOf(vm).onPartition === "keep" && !(vm.desired === "stopped" && hasEnded(vm))) {
    return `it runs on without a lease (onPartition keep), so that it may still run on node ${nodeId}`;
  }
  if (keepsData(state, vm)) return dataText(vm);
  return wantsToRun(vm) ? `it may still run on node ${nodeId}` : "it is stopped";
}

/** What an evacuation would do. */
export function foreseeEvacuation(view: Pick<PlanView, "state" | "isLeaseOver">, nodeId: number): PlannedVm[] {
  const { state } = view;
  return sortedRecords(state, "vms")
    .filter(({ node }) => node === nodeId)
    .map((vm): PlannedVm => {
      const why = whyThere(view, vm, nodeId);
      if (leaves(state, vm, nodeId)) return { vm: vm.name, action: "move", why };
      return { vm: vm.name, action: settlesOn(vm, nodeId) ? "stop" : "stay", why };
    });
}
