/** VMs that wait for room: they run nowhere, and the leader places them when a node can take them. */
import { type CommandBodyOf, isQueued, priorityOf, type VmRecord, volumesOf, waitsForRoom } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import type { ClusterState, CommandEntry, Outcome } from "./types.ts";
import { placeRefusal } from "./vm-create.ts";
import { takenOver } from "./vm-hold.ts";

/** From this level of the cluster on a VM that fits nowhere waits for room; below it is refused. */
export const queueLevel = 3;

/** A VM without a node that somebody wants to run, and that no node can take now. */
export function queued(vm: VmRecord, reason: string, { command, index }: CommandEntry): VmRecord {
  return {
    ...takenOver(vm, "running", null),
    desired: "running",
    phase: "Pending",
    guest: "none",
    reason: waitsForRoom,
    message: reason,
    updatedUnixMs: command.atUnixMs,
    updatedIndex: index,
  };
}

export function applyPlace(state: ClusterState, body: CommandBodyOf<"vm.place">, entry: CommandEntry): Outcome {
  const { name, vmId, fencingEpoch, node: id, reason } = body;
  const vm = state.vms.get(name);
  if (vm === undefined || vm.vmId !== vmId) return refuse("VM_NOT_FOUND", `there is no such VM ${name}`);
  if (!isQueued(vm) || vm.fencingEpoch !== fencingEpoch) {
    return refuse("STALE_EPOCH", `the VM ${name} does not wait for room in epoch ${fencingEpoch}`);
  }
  if (id === undefined) return stored(queued(vm, reason, entry));
  const taken = placeRefusal(state, id, vm.spec);
  if (taken !== undefined) return taken;
  const elsewhere = volumesOf(vm.spec).find((volume) => state.volumes.get(volume)?.node !== id);
  if (elsewhere !== undefined) return refuse("CONFLICT", `the volume ${elsewhere} is not on node ${id}`);
  return stored({
    ...vm,
    node: id,
    fencingEpoch: vm.fencingEpoch + 1,
    reason: "placed",
    message: "",
    placement: reason,
    updatedUnixMs: entry.command.atUnixMs,
    updatedIndex: entry.index,
  });
}

/** The other one waits still, and this one runs still. It is stopped as by a person, and stays where it is. */
export function applyPreempt(state: ClusterState, body: CommandBodyOf<"vm.preempt">, entry: CommandEntry): Outcome {
  const { name, vmId, fencingEpoch, by } = body;
  const vm = state.vms.get(name);
  if (vm === undefined || vm.vmId !== vmId) return refuse("VM_NOT_FOUND", `there is no such VM ${name}`);
  const other = state.vms.get(by);
  const mayStop = isPreemptible(vm) && vm.fencingEpoch === fencingEpoch;
  if (!mayStop || other === undefined || !isQueued(other) || priorityOf(other.spec) <= priorityOf(vm.spec)) {
    return refuse("STALE_EPOCH", `the VM ${name} does not make room for the VM ${by} any more`);
  }
  return stored({
    ...takenOver(vm, "stopped", vm.node),
    desired: "stopped",
    preempted: { by, unixMs: entry.command.atUnixMs },
    updatedUnixMs: entry.command.atUnixMs,
    updatedIndex: entry.index,
  });
}

/** Whether a VM may be stopped to make room: it has said so, it runs or is to, and no operation works on it. */
export function isPreemptible({ node, desired, held, spec }: VmRecord): boolean {
  const runs = node !== null && (desired === "running" || desired === "paused");
  return runs && held === undefined && spec.placement?.preemptible === true;
}

function stored(vm: VmRecord): Outcome {
  return done({ vm }, [{ table: "vms", key: vm.name, value: vm }]);
}
