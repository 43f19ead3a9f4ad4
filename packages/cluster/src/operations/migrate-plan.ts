/** The next step of a VM that goes to another node: its disks go there while it stands still, and then it starts there. */
import type { VmRecord } from "@blixard/protocol";
import { isCopied } from "../state-machine/vm-hold.ts";
import { hasEnded } from "../state-machine/vm-move.ts";
import { cancelled, lateEnd, type NodeOperation, type OperationPlan, type PlanView } from "./plan-types.ts";
import { copyText, VmTransit } from "./vm-transit.ts";

/** Of 100, when the VM has ended and when its disks have come. */
const stoppedPercent = 5;
const copiedPercent = 95;

export function planMigration(view: PlanView, operation: NodeOperation): OperationPlan {
  const { id, vmId = "", to = 0, nodeId } = operation;
  const { state } = view;
  const vm = state.vms.get(state.vmNames.get(vmId) ?? "");
  if (vm === undefined || vm.desired === "deleted") return cancelled("the VM was deleted");
  if (vm.node === null) return cancelled("the node of the VM was removed");
  const transit = new VmTransit(view, operation, { parallel: 1, to: () => to });
  const isHeld = vm.held?.operation === id;
  if (isHeld) transit.goOn(vm);
  else if (vm.node === to) transit.arrive(vm);
  else if (vm.desired === "stopped") return cancelled(`somebody has stopped the VM, which stays on node ${vm.node}`);
  else return cancelled(`it is on node ${vm.node} again: somebody has taken it back, or node ${to} has no room`);
  const { steps, waiting, left, failure } = transit;
  const plan = { steps, waiting, ...toldOf(vm, { isHeld, nodeId, to }) };
  if (failure !== undefined) return { ...plan, end: { state: "failed", error: failure } };
  if (left > 0) return { ...plan, ...lateEnd(operation, view.nowUnixMs, left) };
  const [failed] = waiting;
  if (failed === undefined) return { ...plan, message: `it is on node ${to}`, end: { state: "done" } };
  return { ...plan, end: { state: "failed", error: { code: "VM_DRIVER_FAILED", message: failed.why } } };
}

/** What is next, with how far it is. */
function toldOf(
  vm: VmRecord,
  { isHeld, nodeId, to }: { readonly isHeld: boolean; readonly nodeId: number; readonly to: number },
): Pick<OperationPlan, "percent" | "message"> {
  const { held } = vm;
  if (!isHeld || isCopied(vm)) return { percent: copiedPercent, message: `it starts on node ${to}` };
  const { copy } = held ?? {};
  if (copy === undefined) {
    const ended = hasEnded(vm);
    return { percent: ended ? stoppedPercent : 0, message: ended ? "it has ended" : `it ends on node ${nodeId}` };
  }
  const part = copy.wholeBytes === 0 ? 0 : Math.min(1, copy.doneBytes / copy.wholeBytes);
  const percent = stoppedPercent + Math.floor(part * (copiedPercent - stoppedPercent));
  return { percent, message: copyText(copy, to).slice(0, messageLengthMax) };
}

const messageLengthMax = 512;
