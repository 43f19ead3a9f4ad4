/**
 * VMs that an operation stops for a while, and starts again:
 *
 *     runs -- vm.hold --> held, in a new epoch -- its node says that it has stopped --> vm.release --> starts, in a new epoch
 *                              |
 *                              '-- a person says what is to become of it, or the operation ends --> not held any more
 *
 * The new epoch of the hold is what makes the move safe: what a node says of a VM counts only in the present epoch, so that
 * one which is said to have stopped is known to be held by whoever could start it again.
 */
import {
  type CommandBodyOf,
  type DiskCopyObservation,
  limits,
  type OperationRecord,
  type VmHeld,
  type VmRecord,
} from "@blixard/protocol";
import { done, nodeNotFound, refuse } from "./outcomes.ts";
import { nodeKey } from "./state.ts";
import type { Change, ClusterState, CommandEntry, Outcome } from "./types.ts";
import { forwardConflict } from "./vm-forwards.ts";
import { hasEnded, withoutHomeOn } from "./vm-move.ts";
import { carried, volumesCarryRefusal } from "./volume.ts";
import { withVolumeCopies } from "./volume-move.ts";

export function applyHold(state: ClusterState, body: CommandBodyOf<"vm.hold">, entry: CommandEntry): Outcome {
  const vm = state.vms.get(body.name);
  if (vm === undefined || vm.vmId !== body.vmId) return refuse("VM_NOT_FOUND", `there is no such VM ${body.name}`);
  const operation = state.operations.get(body.operation);
  if (operation?.state !== "running") {
    return refuse("CONFLICT", `the operation ${body.operation} does not run`);
  }
  if (vm.fencingEpoch !== body.fencingEpoch || vm.node === null) {
    return refuse("STALE_EPOCH", `the VM ${body.name} is not in epoch ${body.fencingEpoch} any more`);
  }
  if (vm.desired !== "running" && vm.desired !== "paused") {
    return refuse("CONFLICT", `the VM ${body.name} is to be ${vm.desired}`);
  }
  const stuck = body.to === undefined ? undefined : volumesCarryRefusal(state, vm);
  if (stuck !== undefined) return refuse("CONFLICT", `the VM ${body.name} cannot leave its node: ${stuck}`);
  const home =
    vm.home !== undefined || operation.kind !== "node-drain"
      ? {}
      : { home: { node: vm.node, operation: operation.id } };
  return stored({ ...heldBy({ ...vm, ...home }, operation, vm.desired, body) }, entry);
}

/** The VM, stopped for an operation. */
export function heldBy(
  vm: VmRecord,
  { id, kind }: Pick<OperationRecord, "id" | "kind">,
  desired: VmHeld["desired"],
  { next, to }: Pick<VmHeld, "next" | "to">,
): VmRecord {
  const fencingEpoch = vm.fencingEpoch + 1;
  return {
    ...vm,
    held: { operation: id, desired, next, ...(to === undefined ? {} : { to, epoch: fencingEpoch }) },
    desired: "stopped",
    fencingEpoch,
    phase: "Stopping",
    reason: kind,
    message: next === "move" ? "it is stopped to start on another node" : "it is stopped until its node is resumed",
  };
}

export function applyRelease(state: ClusterState, body: CommandBodyOf<"vm.release">, entry: CommandEntry): Outcome {
  const vm = state.vms.get(body.name);
  if (vm === undefined || vm.vmId !== body.vmId) return refuse("VM_NOT_FOUND", `there is no such VM ${body.name}`);
  // Its node gives its disks away only when it has ended there.
  const isOver = hasEnded(vm) || isCopied(vm);
  if (vm.held === undefined || vm.node !== body.from || vm.fencingEpoch !== body.fencingEpoch || !isOver) {
    return refuse(
      "STALE_EPOCH",
      `the VM ${body.name} is not held and stopped on node ${body.from} in epoch ${body.fencingEpoch}`,
    );
  }
  const node = state.nodes.get(nodeKey(body.to));
  if (node === undefined) return nodeNotFound(body.to);
  if (node.leaving) return refuse("CONFLICT", `node ${body.to} is leaving the cluster`);
  const { held, ...freed } = vm;
  const moves = body.to !== body.from;
  if (moves && held.to !== undefined && (held.to !== body.to || !isCopied(vm))) {
    return refuse("STALE_EPOCH", `the disks of the VM ${body.name} are not on node ${body.to}`);
  }
  const taken = moves ? forwardConflict(state, body.to, vm.spec) : undefined;
  if (taken !== undefined) return taken;
  const message = moves ? `it ran on node ${body.from}` : "";
  const { to, epoch } = held;
  const volumes = moves && to !== undefined && epoch !== undefined ? carried(state, vm, { to, epoch }, entry) : [];
  return stored(
    {
      ...withoutHomeOn(freed, body.to),
      ...(moves ? movedDisks(vm, body.to) : {}),
      ...started(freed, held.desired),
      node: body.to,
      reason: moves ? "moved" : "start-requested",
      message,
      placement: moves ? body.reason : vm.placement,
      conditions: moves ? [] : vm.conditions,
      driver: moves ? null : vm.driver,
    },
    entry,
    volumes,
  );
}

/** A VM that is held for a move, when nothing comes of that. */
export function startedWhereItIs(vm: VmRecord, entry: CommandEntry): VmRecord {
  const { held, ...freed } = vm;
  const dated = { updatedUnixMs: entry.command.atUnixMs, updatedIndex: entry.index };
  // Its node has been removed meanwhile: a person starts it.
  if (held === undefined || freed.node === null) return { ...freed, ...dated };
  const wish = { reason: held.desired === "stopped" ? "stop-requested" : "start-requested", message: "" };
  return { ...withoutHomeOn(freed, freed.node), ...started(freed, held.desired), ...wish, ...dated };
}

/** What a person says of a VM is in the place of what an operation meant to do with it. */
export function takenOver(vm: VmRecord, desired: VmRecord["desired"], node: number | null): VmRecord {
  const { held: _, preempted: ___, ...freed } = vm;
  if (desired === "running" || desired === "paused") return withoutHomeOn(freed, node);
  const { home: __, ...left } = freed;
  return left;
}

/** One that was stopped before stays so. */
function started(vm: VmRecord, desired: VmHeld["desired"]) {
  const phase = desired === "stopped" ? "Stopped" : "Pending";
  return { desired, phase, guest: "none", fencingEpoch: vm.fencingEpoch + 1 } as const;
}

/** Whether the node that takes the disks of a VM has all of them. */
export function isCopied({ held }: Pick<VmRecord, "held">): boolean {
  return held?.to !== undefined && held.copy?.state === "copied";
}

/** The disks are on the other node from now on, and what is left behind is an older copy. */
function movedDisks({ held, node, moved }: VmRecord, to: number): Pick<VmRecord, "disks" | "moved"> {
  if (held?.to === undefined || held.epoch === undefined || node === null) return {};
  const { names = [] } = held.copy ?? {};
  const leftOn = [...(moved?.leftOn ?? []).filter((left) => left !== to && left !== node), node];
  return {
    disks: { node: to, names },
    moved: { node: to, epoch: held.epoch, names, leftOn: leftOn.slice(-limits.vmCopiesLeftMax) },
  };
}

/** What nodes say of the disks that they take, and of older copies that they have let go. What is not so any more is void. */
export function applyObserveCopy(
  state: ClusterState,
  { nodeId, copies }: CommandBodyOf<"vm.observeCopy">,
  { command, index }: CommandEntry,
): Outcome {
  if (!state.nodes.has(nodeKey(nodeId))) return nodeNotFound(nodeId);
  const latest = new Map<string, VmRecord>();
  for (const seen of copies) {
    const name = state.vmNames.get(seen.vmId) ?? "";
    const vm = latest.get(name) ?? state.vms.get(name);
    const next = vm === undefined ? undefined : withCopy(vm, nodeId, seen);
    if (next !== undefined) latest.set(name, { ...next, updatedUnixMs: command.atUnixMs, updatedIndex: index });
  }
  const changes = [...latest]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => ({ table: "vms", key, value }) as const);
  const volumes = withVolumeCopies(state, nodeId, copies, index);
  return done({ accepted: changes.length + volumes.length }, [...changes, ...volumes]);
}

function withCopy(vm: VmRecord, nodeId: number, seen: DiskCopyObservation): VmRecord | undefined {
  const { vmId: _, epoch, state, ...said } = seen;
  if (state === "dropped") {
    const { moved } = vm;
    if (moved === undefined || !moved.leftOn.includes(nodeId) || vm.fencingEpoch !== epoch) return undefined;
    return { ...vm, moved: { ...moved, leftOn: moved.leftOn.filter((left) => left !== nodeId) } };
  }
  const { held } = vm;
  if (held?.to !== nodeId || held.epoch !== epoch || isCopied(vm) || held.copy?.state === "failed") return undefined;
  return { ...vm, held: { ...held, copy: { state, ...said } } };
}

function stored(vm: VmRecord, { command, index }: CommandEntry, others: readonly Change[] = []): Outcome {
  const value: VmRecord = { ...vm, updatedUnixMs: command.atUnixMs, updatedIndex: index };
  return done({ vm: value }, [{ table: "vms", key: vm.name, value }, ...others]);
}
