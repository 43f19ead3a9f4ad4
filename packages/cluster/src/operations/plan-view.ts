/** What this leader sees when it plans an operation. */
import type { NodeParts } from "../node-parts.ts";
import { isReachable, progressOf } from "../peers/reachability.ts";
import { placementRequest, placeVm, schedulerOptions } from "../services/place-vm.ts";
import { nodeKey } from "../state-machine/state.ts";
import { policyOf } from "../state-machine/vm-move.ts";
import type { PlanView } from "./plan-types.ts";
import type { BalanceView } from "./rebalance-moves.ts";

export type ViewParts = Pick<NodeParts, "clock" | "options" | "raft" | "transport" | "stateMachine" | "leases">;

export function planView(parts: ViewParts): PlanView {
  const { clock, options, raft, stateMachine, leases } = parts;
  const { state } = stateMachine;
  return {
    state,
    nowUnixMs: clock.unixMs(),
    isReachable: (nodeId) => isReachable(parts, nodeId),
    isLeaseOver: (nodeId) => {
      const { longLease } = state.nodes.get(nodeKey(nodeId)) ?? {};
      return leases.isOver(raft.coreStatus().term, nodeId, clock.monotonicMs(), longLease?.ms);
    },
    hasLog: (nodeId, index) => nodeId === options.nodeId || (progressOf(parts, nodeId)?.match ?? 0) >= index,
    place: (vm, { reservations, only }) => {
      const image = state.images.get(vm.spec.image);
      if (image === undefined) {
        const message = `there is no image ${vm.spec.image}`;
        return { ok: false, code: "NO_CAPACITY", message, hint: "See: blixard image list", nodes: [] };
      }
      const moves = policyOf(vm).onNodeLoss === "move";
      const leaves = only === undefined && vm.node !== null ? { leaves: vm.node } : {};
      return placeVm(parts, vm, image, {
        moves,
        carries: true,
        reservations,
        ...leaves,
        ...(only === undefined ? {} : { only }),
      });
    },
  };
}

/** What this leader sees when it looks for VMs that another node suits better. */
export function balanceView(parts: ViewParts): BalanceView {
  return {
    state: parts.stateMachine.state,
    options: schedulerOptions(parts),
    requestOf: (vm, image, state) => placementRequest(parts, vm, image, { moves: true, state }),
  };
}
