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
import type { CommandBodyOf, VmRecord } from "@blixard/protocol";
import { done, nodeNotFound, refuse } from "./outcomes.ts";
import { nodeKey } from "./state.ts";
import type { ClusterState, CommandEntry, Outcome } from "./types.ts";
import { forwardConflict } from "./vm-forwards.ts";
import { hasEnded, withoutHomeOn } from "./vm-move.ts";

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
  const home =
    vm.home !== undefined || operation.kind !== "node-drain"
      ? {}
      : { home: { node: vm.node, operation: operation.id } };
  return stored(
    {
      ...vm,
      ...home,
      held: { operation: operation.id, desired: vm.desired, next: body.next },
      desired: "stopped",
      fencingEpoch: vm.fencingEpoch + 1,
      phase: "Stopping",
      reason: operation.kind,
      message:
        body.next === "move" ? "it is stopped to start on another node" : "it is stopped until its node is resumed",
    },
    entry,
  );
}

export function applyRelease(state: ClusterState, body: CommandBodyOf<"vm.release">, entry: CommandEntry): Outcome {
  const vm = state.vms.get(body.name);
  if (vm === undefined || vm.vmId !== body.vmId) return refuse("VM_NOT_FOUND", `there is no such VM ${body.name}`);
  if (vm.held === undefined || vm.node !== body.from || vm.fencingEpoch !== body.fencingEpoch || !hasEnded(vm)) {
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
  const taken = moves ? forwardConflict(state, body.to, vm.spec) : undefined;
  if (taken !== undefined) return taken;
  const message = moves ? `it ran on node ${body.from}` : "";
  return stored(
    {
      ...withoutHomeOn(freed, body.to),
      ...started(freed, held.desired),
      node: body.to,
      reason: moves ? "moved" : "start-requested",
      message,
      placement: moves ? body.reason : vm.placement,
      conditions: moves ? [] : vm.conditions,
      driver: moves ? null : vm.driver,
    },
    entry,
  );
}

/** A VM that is held for a move, when nothing comes of that. */
export function startedWhereItIs(vm: VmRecord, entry: CommandEntry): VmRecord {
  const { held, ...freed } = vm;
  const dated = { updatedUnixMs: entry.command.atUnixMs, updatedIndex: entry.index };
  // Its node has been removed meanwhile: a person starts it.
  if (held === undefined || freed.node === null) return { ...freed, ...dated };
  const wish = { reason: "start-requested", message: "" };
  return { ...withoutHomeOn(freed, freed.node), ...started(freed, held.desired), ...wish, ...dated };
}

/** What a person says of a VM is in the place of what an operation meant to do with it. */
export function takenOver(vm: VmRecord, desired: VmRecord["desired"], node: number | null): VmRecord {
  const { held: _, preempted: ___, ...freed } = vm;
  if (desired === "running" || desired === "paused") return withoutHomeOn(freed, node);
  const { home: __, ...left } = freed;
  return left;
}

function started(vm: VmRecord, desired: "running" | "paused") {
  return { desired, phase: "Pending", guest: "none", fencingEpoch: vm.fencingEpoch + 1 } as const;
}

function stored(vm: VmRecord, { command, index }: CommandEntry): Outcome {
  const value: VmRecord = { ...vm, updatedUnixMs: command.atUnixMs, updatedIndex: index };
  return done({ vm: value }, [{ table: "vms", key: vm.name, value }]);
}
