/** The next steps of a rebalancing: the moves that were decided when it began, as far as there is still room for them. */
import type { OperationRecord } from "@blixard/protocol";
import { wantsToRun } from "../state-machine/vm-move.ts";
import { countOf, lateEnd, type OperationPlan, type PlanView, percentOf } from "./plan-types.ts";
import { VmTransit } from "./vm-transit.ts";

export function planRebalance(view: PlanView, operation: OperationRecord): OperationPlan {
  const { id, drain, moves = [] } = operation;
  const goals = new Map(moves.map(({ vm, to }) => [vm, to]));
  const transit = new VmTransit(view, operation, {
    parallel: drain?.parallel ?? 1,
    to: ({ name }) => goals.get(name),
  });
  const present = moves.flatMap(({ vm: name, from, to }) => {
    const vm = view.state.vms.get(name);
    return vm === undefined ? [] : [{ vm, from, to }];
  });
  // What is under way takes its place before anything else sets out.
  for (const { vm, to } of present) {
    if (vm.held?.operation === id) transit.goOn(vm);
    else if (vm.node === to && wantsToRun(vm)) transit.arrive(vm);
  }
  for (const { vm, from } of present) {
    if (vm.held === undefined && vm.node === from && wantsToRun(vm)) transit.leave(vm, "move");
  }
  const { steps, waiting, left } = transit;
  const there = present.filter(({ vm, to }) => vm.node === to && vm.held === undefined).length;
  const message = `${countOf(there)} moved, ${left} left`;
  const plan = { steps, percent: percentOf(left, moves.length), message, waiting };
  if (left > 0) return { ...plan, ...lateEnd(operation, view.nowUnixMs, left) };
  return { ...plan, end: { state: "done" } };
}
