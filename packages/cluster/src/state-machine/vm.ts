/**
 * Commands of VMs. What is wanted comes from people through the leader; what is comes from the node that owns the VM,
 * under the fencing epoch, so that a node which lost a VM can no longer speak for it.
 */
import {
  type CommandBodyOf,
  isQueued,
  type VmObservation,
  type VmRecord,
  withObservedConditions,
  withObservedEnds,
} from "@blixard/protocol";
import { forcedOperation } from "./operation.ts";
import { done, nodeNotFound, refuse } from "./outcomes.ts";
import { preconditionFailed } from "./precondition.ts";
import { applyReseal } from "./secret.ts";
import { nodeKey } from "./state.ts";
import type { AppliersOf, Change, ClusterState, CommandEntry, Outcome } from "./types.ts";
import { applyCreate } from "./vm-create.ts";
import { applyDisk, letGo } from "./vm-disk.ts";
import { forwardConflict } from "./vm-forwards.ts";
import { applyHold, applyObserveCopy, applyRelease, takenOver } from "./vm-hold.ts";
import { applyMove, applySettle } from "./vm-move.ts";
import { hasEnded } from "./vm-phase.ts";
import { applyPlace, applyPreempt, queued } from "./vm-queue.ts";
import { applySet, withPolicyInForce } from "./vm-set.ts";
import { released } from "./volume.ts";
import { snapshotRefusal } from "./volume-snapshot.ts";

export const vmAppliers: AppliersOf<"vm"> = {
  "vm.create": applyCreate,
  "vm.set": applySet,
  "vm.place": applyPlace,
  "vm.preempt": applyPreempt,
  "vm.desire": applyDesire,
  "vm.move": applyMove,
  "vm.settle": applySettle,
  "vm.hold": applyHold,
  "vm.release": applyRelease,
  "vm.reseal": applyReseal,
  "vm.purge": applyPurge,
  "vm.disk": applyDisk,
  "vm.observe": applyObserve,
  "vm.observeCopy": applyObserveCopy,
};

function applyDesire(state: ClusterState, body: CommandBodyOf<"vm.desire">, entry: CommandEntry): Outcome {
  const vm = state.vms.get(body.name);
  if (vm === undefined) return vmNotFound(body.name);
  const failed = preconditionFailed(entry.command, `VM ${body.name}`, vm.updatedIndex);
  if (failed !== undefined) return failed;
  if (vm.desired === "deleted" && body.desired !== "deleted") {
    return refuse("CONFLICT", `the VM ${body.name} is being deleted`);
  }
  if (vm.node === null && body.desired === "deleted") return deleted(state, vm, entry);
  if (body.node !== undefined && vm.node === null && !state.nodes.has(nodeKey(body.node)))
    return nodeNotFound(body.node);
  // A placement counts only for a VM that has no node: otherwise two decisions in flight could start it twice.
  const placed = vm.node === null && body.node !== undefined;
  const node = placed ? body.node : vm.node;
  // One that may still run somewhere is started by nobody but the person who says so now.
  if (node === null && body.desired === "running" && body.pending !== undefined && vm.phase !== "Unknown") {
    return changed(queued(vm, body.pending, entry));
  }
  if (node === null && body.desired !== "stopped") {
    return refuse("CONFLICT", `the VM ${body.name} is placed on no node`, "Try again.");
  }
  // What runs goes on while its volumes are copied.
  const starts = (body.desired === "running" || body.desired === "paused") && hasEnded(vm);
  const busy = starts ? snapshotRefusal(state, vm) : undefined;
  if (busy !== undefined) return refuse("CONFLICT", `the VM ${body.name} cannot start now: ${busy}`, "Try again.");
  const taken = placed && body.node !== undefined ? forwardConflict(state, body.node, vm.spec) : undefined;
  if (taken !== undefined) return taken;
  const newEpoch = body.newEpoch || placed;
  const next: VmRecord = {
    ...takenOver(vm, body.desired, node),
    desired: body.desired,
    node,
    placement: placed ? (body.placement ?? "") : vm.placement,
    fencingEpoch: vm.fencingEpoch + (newEpoch ? 1 : 0),
    ...(newEpoch ? { phase: "Pending", reason: "start-requested", message: "", guest: "none" } : {}),
    ...(isQueued(vm) && node === null ? { phase: "Stopped", reason: "never-started", message: "" } : {}),
    updatedUnixMs: entry.command.atUnixMs,
    updatedIndex: entry.index,
  };
  const forced = forcedOperation(state, vm, { id: body.operation, kind: "vm-stop" }, entry);
  return withOperation(changed(next), forced);
}

function applyPurge(state: ClusterState, body: CommandBodyOf<"vm.purge">, entry: CommandEntry): Outcome {
  const vm = state.vms.get(body.name);
  if (vm === undefined) return vmNotFound(body.name);
  const failed = preconditionFailed(entry.command, `VM ${body.name}`, vm.updatedIndex);
  if (failed !== undefined) return failed;
  return withOperation(
    deleted(state, vm, entry),
    forcedOperation(state, vm, { id: body.operation, kind: "vm-delete" }, entry),
  );
}

/** The outcome with the operation that it is, whose id is told. */
function withOperation({ result, changes }: Outcome, operation: Change | undefined): Outcome {
  if (operation === undefined || !result.ok) return { result, changes };
  const value = { ...(result.value as object), operation: operation.key };
  return { result: { ok: true, value }, changes: [...changes, operation] };
}

/** Takes what the owner saw. Observations of another epoch or node are void, which the count in the result shows. */
function applyObserve(state: ClusterState, body: CommandBodyOf<"vm.observe">, entry: CommandEntry): Outcome {
  if (!state.nodes.has(nodeKey(body.nodeId))) return nodeNotFound(body.nodeId);
  const latest = new Map<string, VmRecord | undefined>();
  let stale = 0;
  for (const seen of body.observations) {
    const name = state.vmNames.get(seen.vmId);
    const vm = name === undefined ? undefined : latest.has(name) ? latest.get(name) : state.vms.get(name);
    if (name === undefined || vm === undefined || vm.node !== body.nodeId || vm.fencingEpoch !== seen.fencingEpoch) {
      stale++;
      continue;
    }
    // The node has let go of it for good, and that was wanted: the record may go.
    if (seen.phase === "Deleted" && vm.desired === "deleted") latest.set(name, undefined);
    else latest.set(name, letGo(observed(vm, seen, body.nodeId, entry)));
  }
  const changes: Change[] = [];
  for (const [name, vm] of [...latest].sort(([a], [b]) => (a < b ? -1 : 1))) {
    changes.push({ table: "vms", key: name, value: vm });
    const before = state.vms.get(name);
    if (before !== undefined) changes.push(...released(state, before, entry, vm));
  }
  return done({ accepted: body.observations.length - stale, stale }, changes);
}

function observed(vm: VmRecord, seen: VmObservation, nodeId: number, { command, index }: CommandEntry): VmRecord {
  // What a guest said, and what its process was given, does not outlive it.
  const { agent: _, startedWith: __, guestDisks: ___, ...before } = vm;
  return withPolicyInForce({
    ...before,
    conditions: withObservedConditions(vm.conditions, seen.conditions ?? []),
    phase: seen.phase,
    reason: seen.reason,
    message: seen.message,
    driver: seen.driver,
    guest: seen.guest,
    restarts: seen.restarts,
    updatedUnixMs: command.atUnixMs,
    updatedIndex: index,
    ...(seen.ends === undefined ? {} : { ends: withObservedEnds(vm.ends ?? [], seen.ends, nodeId) }),
    ...(seen.agent === undefined ? {} : { agent: seen.agent }),
    ...(seen.guestDisks === undefined ? {} : { guestDisks: seen.guestDisks }),
    ...(seen.disks === undefined ? {} : { disks: { node: nodeId, names: seen.disks } }),
    ...(seen.startedWith === undefined ? {} : { startedWith: seen.startedWith }),
  });
}

function changed(vm: VmRecord, more: readonly Change[] = []): Outcome {
  return done({ vm }, [{ table: "vms", key: vm.name, value: vm }, ...more]);
}

function deleted(state: ClusterState, vm: VmRecord, entry: CommandEntry): Outcome {
  const gone: VmRecord = { ...vm, desired: "deleted", phase: "Deleted" };
  return done({ vm: gone }, [{ table: "vms", key: vm.name, value: undefined }, ...released(state, vm, entry)]);
}

function vmNotFound(name: string): Outcome {
  return refuse("VM_NOT_FOUND", `there is no VM ${name}`, "List the VMs with: blixard vm list");
}
