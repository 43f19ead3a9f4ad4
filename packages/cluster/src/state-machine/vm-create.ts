/** The command that makes a VM: on a node that the leader has chosen, or on none while none can take it. */
import { type CommandBodyOf, limits, type VmRecord, type VmSpec, waitsForRoom } from "@blixard/protocol";
import { cdromsRefusal } from "./image.ts";
import { done, nodeNotFound, refuse } from "./outcomes.ts";
import { preconditionFailed } from "./precondition.ts";
import { quotaRefusal } from "./quota.ts";
import { groupsRefusal } from "./security-group.ts";
import { nodeKey } from "./state.ts";
import type { Change, ClusterState, CommandEntry, Outcome } from "./types.ts";
import { cardsRefusal } from "./vm-cards.ts";
import { forwardConflict } from "./vm-forwards.ts";
import { newPolicy } from "./vm-move.ts";
import { attached, attachRefusal } from "./volume.ts";

type NewVm = Pick<CommandBodyOf<"vm.create">, "name" | "vmId" | "spec" | "desired" | "labels" | "cards">;

export function applyCreate(state: ClusterState, body: CommandBodyOf<"vm.create">, entry: CommandEntry): Outcome {
  const refused = newVmRefusal(state, body);
  if (refused !== undefined) return refused;
  const { node, placement, pending } = body;
  if (node === undefined) {
    if (pending === undefined) return refuse("INVALID_ARGUMENT", "a VM has a node, or waits for one");
    const waiting = newVm(state, body, { node: null, placement, reason: waitsForRoom, message: pending }, entry);
    return created(state, waiting, body, entry);
  }
  const taken = placeRefusal(state, node, body.spec);
  if (taken !== undefined) return taken;
  return created(state, newVm(state, body, { node, placement, reason: "created", message: "" }, entry), body, entry);
}

/** Why a new VM cannot be on a node after all; undefined when it can. */
export function placeRefusal(state: ClusterState, id: number, spec: VmSpec): Outcome | undefined {
  const node = state.nodes.get(nodeKey(id));
  if (node === undefined) return nodeNotFound(id);
  if (node.leaving) return refuse("CONFLICT", `node ${id} is leaving the cluster`, "Try again.");
  return forwardConflict(state, id, spec);
}

function newVmRefusal(state: ClusterState, { name, vmId, spec, labels }: NewVm): Outcome | undefined {
  if (state.vms.has(name)) {
    return refuse("ALREADY_EXISTS", `there is a VM ${name} already`, "Choose another name, or delete that one first.");
  }
  if (state.vmNames.has(vmId)) return refuse("CONFLICT", `the VM id ${vmId} is in use`);
  if (state.vms.size >= limits.vmsMax) return refuse("CONFLICT", `there are ${limits.vmsMax} VMs already`);
  if (!state.images.has(spec.image)) {
    return refuse("IMAGE_NOT_FOUND", `there is no image ${spec.image}`, "See: blixard image list");
  }
  return cdromsRefusal(state, spec) ?? quotaRefusal(state, spec, labels);
}

function newVm(
  state: ClusterState,
  { name, vmId, spec, desired, labels, cards }: NewVm,
  place: Pick<VmRecord, "node" | "placement" | "reason" | "message">,
  { command, index }: CommandEntry,
): VmRecord {
  const { node, placement, reason, message } = place;
  // The order of the fields is a part of the state: releases of before write the same.
  return {
    ...{ name, vmId, spec, desired },
    phase: desired === "running" ? "Pending" : "Stopped",
    node,
    fencingEpoch: 1,
    conditions: [],
    reason,
    message,
    driver: null,
    guest: "none",
    restarts: 0,
    ...newPolicy(state, spec),
    ...(cards === undefined ? {} : { cards }),
    placement,
    createdUnixMs: command.atUnixMs,
    updatedUnixMs: command.atUnixMs,
    createdIndex: index,
    updatedIndex: index,
    ...(labels === undefined ? {} : { labels }),
  };
}

function created(
  state: ClusterState,
  vm: VmRecord,
  { userData }: Pick<CommandBodyOf<"vm.create">, "userData">,
  entry: CommandEntry,
): Outcome {
  const failed =
    preconditionFailed(entry.command, `VM ${vm.name}`, 0) ??
    attachRefusal(state, vm.spec, vm.node) ??
    cardsRefusal(state, vm.name, vm.cards) ??
    groupsRefusal(state, vm.spec);
  if (failed !== undefined) return failed;
  const sealed: Change[] = userData === undefined ? [] : [{ table: "secrets", key: vm.vmId, value: userData }];
  return done({ vm }, [{ table: "vms", key: vm.name, value: vm }, ...attached(state, vm, entry), ...sealed]);
}
