/** VMs that wait for room: they run nowhere, and the leader places them when a node can take them. */
import { type CommandBodyOf, isQueued, type VmRecord, volumesOf, waitsForRoom } from "@blixard/protocol";
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

function stored(vm: VmRecord): Outcome {
  return done({ vm }, [{ table: "vms", key: vm.name, value: vm }]);
}
