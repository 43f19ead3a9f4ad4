/**
 * VMs that leave a node whose lease is over. The leader has waited, and has chosen where to; here it is only checked that the VM
 * is still the one that it saw.
 */
import {
  type CommandBodyOf,
  formerLossPolicy,
  type ImageRecord,
  type LossPolicy,
  lossPolicyOf,
  type VmRecord,
  type VmSpec,
} from "@blixard/protocol";
import { clusterLevel } from "./level.ts";
import { nodeReachable } from "./node.ts";
import { done, nodeNotFound, refuse } from "./outcomes.ts";
import { nodeKey } from "./state.ts";
import type { ClusterState, CommandEntry, Outcome } from "./types.ts";

/** From this level of the cluster on its nodes have leases, and new VMs a policy. */
export const leasesLevel = 3;

export function policyOf({ lossPolicy }: Pick<VmRecord, "lossPolicy">): LossPolicy {
  return lossPolicy ?? formerLossPolicy;
}

/** Whether a VM of this image keeps something on a disk of its node. The disk of an image is written to. */
export function hasOwnData({ format }: Pick<ImageRecord, "format">): boolean {
  return format === "disk";
}

/** What the record of a new VM says; nothing below the level of leases. */
export function newPolicy(state: ClusterState, spec: VmSpec): Pick<VmRecord, "lossPolicy"> {
  const image = state.images.get(spec.image);
  if (image === undefined || clusterLevel(state) < leasesLevel) return {};
  return { lossPolicy: lossPolicyOf(spec, { ownData: hasOwnData(image) }) };
}

/** Whether a VM is to be started elsewhere once its node has no lease. One that is not to run waits until somebody starts it. */
export function movesFrom(vm: VmRecord, nodeId: number): boolean {
  return vm.node === nodeId && policyOf(vm).onNodeLoss === "move" && wantsToRun(vm);
}

function wantsToRun({ desired }: VmRecord): boolean {
  return desired === "running" || desired === "paused";
}

export function applyMove(state: ClusterState, body: CommandBodyOf<"vm.move">, entry: CommandEntry): Outcome {
  const vm = state.vms.get(body.name);
  if (vm === undefined || vm.vmId !== body.vmId) return refuse("VM_NOT_FOUND", `there is no such VM ${body.name}`);
  if (!movesFrom(vm, body.from) || vm.fencingEpoch !== body.fencingEpoch) {
    return refuse("STALE_EPOCH", `the VM ${body.name} is not on node ${body.from} in epoch ${body.fencingEpoch}`);
  }
  const dated = { ...vm, updatedUnixMs: entry.command.atUnixMs, updatedIndex: entry.index };
  if (body.to === undefined) {
    return stored({ ...dated, phase: "Pending", reason: noNodeFits, message: body.reason, guest: "none" });
  }
  const node = state.nodes.get(nodeKey(body.to));
  if (node === undefined) return nodeNotFound(body.to);
  if (node.leaving) return refuse("CONFLICT", `node ${body.to} is leaving the cluster`);
  return stored({
    ...dated,
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

/** The reason of a VM that is to leave its node and fits nowhere else. */
export const noNodeFits = "no-node-fits";

function stored(vm: VmRecord): Outcome {
  return done({ vm }, [{ table: "vms", key: vm.name, value: vm }]);
}
