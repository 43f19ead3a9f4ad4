/** When a forced wish about a VM of a lost node has taken effect. Nothing is done for it here: it is only looked at. */
import { nodeKey } from "../state-machine/state.ts";
import { hasEnded, policyOf } from "../state-machine/vm-move.ts";
import { cancelled, type NodeOperation, type OperationPlan, type PlanView } from "./plan-types.ts";

export function planForced(view: PlanView, operation: NodeOperation): OperationPlan {
  return operation.kind === "vm-stop" ? planStop(view, operation) : planDeletion(view, operation);
}

function planStop({ state }: PlanView, { vmId = "", nodeId }: NodeOperation): OperationPlan {
  const vm = state.vms.get(state.vmNames.get(vmId) ?? "");
  if (vm === undefined) return done("it was deleted");
  if (vm.desired !== "stopped") return cancelled(`it is to be ${vm.desired} by now`);
  if (hasEnded(vm)) return done("it has stopped");
  const { onPartition } = policyOf(vm);
  return going(
    onPartition === "stop"
      ? `it has stopped when the lease of node ${nodeId} is over`
      : `it may run until node ${nodeId} is back`,
  );
}

function planDeletion(view: PlanView, { nodeId, startedIndex, keepsRunning }: NodeOperation): OperationPlan {
  if (!view.state.nodes.has(nodeKey(nodeId))) return done(`node ${nodeId} was removed`);
  if (view.isReachable(nodeId) && view.hasLog(nodeId, startedIndex)) {
    return done(`node ${nodeId} knows that it was deleted, and ends what runs of it`);
  }
  if (keepsRunning === true) return going(`what runs of it ends when node ${nodeId} is back`);
  if (view.isLeaseOver(nodeId)) return done(`the lease of node ${nodeId} is over`);
  return going(`what runs of it ends when the lease of node ${nodeId} is over`);
}

const done = (message: string): OperationPlan => ({
  ...{ steps: [], percent: 100, message, waiting: [] },
  end: { state: "done" },
});

const going = (message: string): OperationPlan => ({ steps: [], percent: 0, message, waiting: [] });
