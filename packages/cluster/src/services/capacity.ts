/** What the nodes can take, and what would become of the VMs of one of them. */
import type { LostVm, NodeRecord, NodeRoom, VmRecord } from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import { allowedOf } from "../scheduler/room.ts";
import { runsVms } from "../scheduler/scheduler.ts";
import { noUsage, type Reservation, reservationOf, usageByNode } from "../scheduler/usage.ts";
import { vmsOn } from "../state-machine/node.ts";
import { sortedRecords } from "../state-machine/state.ts";
import { policyOf, wantsToRun } from "../state-machine/vm-move.ts";
import { byPriority, placeVm, schedulerOptions } from "./place-vm.ts";

type CapacityParts = Pick<NodeParts, "options" | "raft" | "transport" | "stateMachine" | "leases">;

/** Of the nodes that run VMs. */
export function roomOfNodes(parts: CapacityParts): NodeRoom[] {
  const { state } = parts.stateMachine;
  const options = schedulerOptions(parts);
  const usage = usageByNode(state, [], options);
  return sortedRecords(state, "nodes")
    .filter(runsVms)
    .map((node): NodeRoom => {
      const used = usage.get(node.id) ?? noUsage;
      const allowed = allowedOf(node.capacity, options);
      const closed = whyClosed(node, isReachable(parts, node.id));
      return {
        nodeId: node.id,
        vms: used.vms,
        vcpus: { used: used.vcpus, allowed: allowed.vcpus },
        memoryMiB: { used: used.memoryMiB, allowed: allowed.memoryMiB },
        ...(allowed.diskMiB === undefined ? {} : { diskMiB: { used: used.diskMiB, allowed: allowed.diskMiB } }),
        ...(closed === undefined ? {} : { closed }),
      };
    });
}

function whyClosed({ leaving, cordoned, capacity }: NodeRecord, answers: boolean): string | undefined {
  if (leaving) return "it is leaving the cluster";
  if (cordoned) return "it is cordoned";
  if (!answers) return "it does not answer";
  return capacity.drivers.length === 0 ? "it has no VM driver" : undefined;
}

/** What would become of the VMs that run on a node when its lease is over, in the order in which that is decided. */
export function withoutNode(parts: CapacityParts, nodeId: number): LostVm[] {
  const reservations: Reservation[] = [];
  const vms = byPriority(vmsOn(parts.stateMachine.state, nodeId).filter(wantsToRun));
  return vms.map((vm): LostVm => {
    const policy = policyOf(vm);
    if (policy.onNodeLoss === "wait") return { vm: vm.name, becomes: "waits", why: "it waits for its node" };
    const place = placeWithout(parts, vm, nodeId, reservations);
    if (!place.ok) return { vm: vm.name, becomes: "pending", why: place.message };
    reservations.push(reservationOf(vm, place.nodeId));
    return { vm: vm.name, becomes: "moves", to: place.nodeId, why: policy.effect };
  });
}

function placeWithout(
  parts: CapacityParts,
  vm: VmRecord,
  without: number,
  reservations: readonly Reservation[],
): ReturnType<typeof placeVm> | { readonly ok: false; readonly message: string } {
  const image = parts.stateMachine.state.images.get(vm.spec.image);
  if (image === undefined) return { ok: false, message: `there is no image ${vm.spec.image}` };
  return placeVm(parts, vm, image, { moves: true, without, reservations });
}
