/**
 * VMs that leave a node whose lease is over. The leader has waited, and has chosen where to; here it is only checked that the VM
 * is still the one that it saw.
 */
import {
  type CommandBodyOf,
  formerLossPolicy,
  hasOwnData,
  type LossPolicy,
  lossPolicyOf,
  nodeReachable,
  type VmRecord,
  type VmSpec,
} from "@blixard/protocol";
import { clusterLevel } from "./level.ts";
import { done, nodeNotFound, refuse } from "./outcomes.ts";
import { nodeKey } from "./state.ts";
import type { ClusterState, CommandEntry, Outcome } from "./types.ts";
import { forwardConflict } from "./vm-forwards.ts";
import { hasEnded } from "./vm-phase.ts";
import { released } from "./volume.ts";

export { hasEnded };

/** From this level of the cluster on its nodes have leases, and new VMs a policy. */
export const leasesLevel = 3;

export function policyOf({ lossPolicy }: Pick<VmRecord, "lossPolicy">): LossPolicy {
  return lossPolicy ?? formerLossPolicy;
}

/** What the record of a new VM says; nothing below the level of leases. */
export function newPolicy(state: ClusterState, spec: VmSpec): Pick<VmRecord, "lossPolicy"> {
  const image = state.images.get(spec.image);
  if (image === undefined || clusterLevel(state) < leasesLevel) return {};
  return { lossPolicy: lossPolicyOf(spec, { ownData: hasOwnData(spec, image) }) };
}

/** Whether a VM is to be started elsewhere once its node has no lease. One that is not to run waits until somebody starts it. */
export function movesFrom(vm: VmRecord, nodeId: number): boolean {
  return vm.node === nodeId && policyOf(vm).onNodeLoss === "move" && wantsToRun(vm);
}

/**
 * Whether a VM that waits for its node may be started elsewhere all the same, when somebody asks for it: it has ended there
 * without a lease, and has left no data.
 */
export function evacuatesFrom({ images }: Pick<ClusterState, "images">, vm: VmRecord, nodeId: number): boolean {
  const image = images.get(vm.spec.image);
  if (vm.node !== nodeId || image === undefined) return false;
  return wantsToRun(vm) && policyOf(vm).onPartition === "stop" && !hasOwnData(vm.spec, image);
}

/** Whether a VM is not to run, and has ended for sure once its node has no lease. */
export function settlesOn(vm: VmRecord, nodeId: number): boolean {
  if (vm.node !== nodeId || policyOf(vm).onPartition !== "stop" || wantsToRun(vm)) return false;
  return vm.desired === "deleted" || !hasEnded(vm);
}

export function wantsToRun({ desired }: VmRecord): boolean {
  return desired === "running" || desired === "paused";
}

/** Whether the VM has on its node what it would not find on another one. */
export function keepsData({ images }: Pick<ClusterState, "images">, { spec }: Pick<VmRecord, "spec">): boolean {
  const image = images.get(spec.image);
  return image === undefined || hasOwnData(spec, image);
}

export function applyMove(state: ClusterState, body: CommandBodyOf<"vm.move">, entry: CommandEntry): Outcome {
  const vm = state.vms.get(body.name);
  if (vm === undefined || vm.vmId !== body.vmId) return refuse("VM_NOT_FOUND", `there is no such VM ${body.name}`);
  const leaves = movesFrom(vm, body.from) || (body.evacuated === true && evacuatesFrom(state, vm, body.from));
  if (!leaves || vm.fencingEpoch !== body.fencingEpoch) {
    return refuse("STALE_EPOCH", `the VM ${body.name} is not on node ${body.from} in epoch ${body.fencingEpoch}`);
  }
  const dated = { ...vm, updatedUnixMs: entry.command.atUnixMs, updatedIndex: entry.index };
  if (body.to === undefined) {
    return stored({ ...dated, phase: "Pending", reason: noNodeFits, message: body.reason, guest: "none" });
  }
  const node = state.nodes.get(nodeKey(body.to));
  if (node === undefined) return nodeNotFound(body.to);
  if (node.leaving) return refuse("CONFLICT", `node ${body.to} is leaving the cluster`);
  const taken = forwardConflict(state, body.to, vm.spec);
  if (taken !== undefined) return taken;
  // It leaves without its data: where that is, and which copy of it is older, is not said any more.
  const { moved: _, startedWith: __, ...left } = dated;
  return stored({
    ...withoutHomeOn(left, body.to),
    node: body.to,
    fencingEpoch: vm.fencingEpoch + 1,
    phase: "Pending",
    reason: "node-lost",
    message: `it ran on node ${body.from}, whose lease is over`,
    guest: "none",
    driver: null,
    placement: body.reason,
    conditions: vm.conditions.filter(({ type }) => type !== nodeReachable),
  });
}

/** What was to stop has stopped. One that nothing keeps there starts on any node next time. */
export function applySettle(state: ClusterState, body: CommandBodyOf<"vm.settle">, entry: CommandEntry): Outcome {
  const vm = state.vms.get(body.name);
  if (vm === undefined || vm.vmId !== body.vmId) return refuse("VM_NOT_FOUND", `there is no such VM ${body.name}`);
  if (!settlesOn(vm, body.from) || vm.fencingEpoch !== body.fencingEpoch) {
    return refuse(
      "STALE_EPOCH",
      `the VM ${body.name} is not to end on node ${body.from} in epoch ${body.fencingEpoch}`,
    );
  }
  if (vm.desired === "deleted") {
    const gone: VmRecord = { ...vm, phase: "Deleted" };
    return done({ vm: gone }, [{ table: "vms", key: vm.name, value: undefined }, ...released(state, vm, entry)]);
  }
  // What an operation holds goes where that decides.
  const leaves = policyOf(vm).onNodeLoss === "move" && vm.held === undefined;
  const { moved, ...left } = vm;
  return stored({
    ...left,
    ...(leaves || moved === undefined ? {} : { moved }),
    node: leaves ? null : vm.node,
    fencingEpoch: vm.fencingEpoch + 1,
    phase: "Stopped",
    reason: "node-lost",
    message: `it was to stop, and the lease of node ${body.from} is over`,
    guest: "none",
    driver: null,
    conditions: leaves ? vm.conditions.filter(({ type }) => type !== nodeReachable) : vm.conditions,
    updatedUnixMs: entry.command.atUnixMs,
    updatedIndex: entry.index,
  });
}

/** The reason of a VM that is to leave its node and fits nowhere else. */
export const noNodeFits = "no-node-fits";

/** A VM that is at home needs not be brought back. */
export function withoutHomeOn(vm: VmRecord, node: number | null): VmRecord {
  if (vm.home === undefined || vm.home.node !== node) return vm;
  const { home: _, ...left } = vm;
  return left;
}

function stored(vm: VmRecord): Outcome {
  return done({ vm }, [{ table: "vms", key: vm.name, value: vm }]);
}
