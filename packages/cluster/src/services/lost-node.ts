/**
 * Commands about a VM whose node does not answer. Who asks for what only that node can do is told at once why not, and what
 * to do instead. A wish that is forced is recorded, and is taken for done only when it is:
 *
 *     stop, of a VM that ends without a lease  -- the lease is over --> Stopped (`vm.settle`)
 *     stop, of one that runs on                -- the node is back  --> the node stops it
 *     delete                                   -- at once           --> no record; what runs there ends as above
 *
 * Nothing of it shortens a lease: a VM that may still run is placed nowhere else.
 */
import { type BlixardError, notApplied } from "@blixard/common";
import { isOnLostNode, type VmDesired, type VmRecord } from "@blixard/protocol";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import { nodeKey } from "../state-machine/state.ts";
import { hasEnded, policyOf } from "../state-machine/vm-move.ts";

/** What these functions use of the node. */
type LostParts = Pick<NodeParts, "clock" | "options" | "raft" | "transport" | "stateMachine" | "leases">;

/** The node of the VM, when it has not answered for a while. */
export function lostNodeOf(parts: Pick<LostParts, "options" | "raft" | "transport">, vm: VmRecord): number | undefined {
  if (vm.node === null || !isOnLostNode(vm) || isReachable(parts, vm.node)) return undefined;
  return vm.node;
}

/**
 * Refuses what only the lost node of the VM could do. One that moves is started elsewhere by itself, so that a start of it is
 * no more than that. @throws NODE_LOST
 */
export function assertNodeAnswers(parts: LostParts, vm: VmRecord, desired: VmDesired): void {
  const nodeId = lostNodeOf(parts, vm);
  if (nodeId === undefined || (desired === "stopped" && vm.desired === "stopped" && hasEnded(vm))) return;
  if (desired === "running" && policyOf(vm).onNodeLoss === "move") return;
  const leftMs = leaseLeftMs(parts, vm, nodeId);
  throw notApplied("NODE_LOST", `${whyLost(vm, nodeId)}${leaseText(vm, nodeId, leftMs)}`, {
    hint: hintFor(vm, nodeId, desired, leftMs),
    details: { nodeId, ...(leftMs === undefined ? {} : { leaseLeftMs: leftMs }) },
  });
}

/** Of a VM that is read at its node, for a node that need not lead. */
export function nodeLostError(vm: VmRecord, nodeId: number): BlixardError {
  return notApplied("NODE_LOST", `${whyLost(vm, nodeId)}${leaseText(vm, nodeId, undefined)}`, {
    hint: `Its console is on that node. See what becomes of the VM: blixard vm explain ${vm.name}`,
    details: { nodeId },
  });
}

/** When a forced wish takes effect; undefined when the node of the VM answers, so that nothing is special about it. */
export function forcedEffect(parts: LostParts, vm: VmRecord, desired: VmDesired): string | undefined {
  const nodeId = lostNodeOf(parts, vm);
  if (nodeId === undefined || hasEnded(vm)) return undefined;
  const verb = desired === "deleted" ? "forgotten; what runs of it ends" : "recorded; it is stopped";
  const leftMs = leaseLeftMs(parts, vm, nodeId);
  if (leftMs === undefined) return `${verb} when node ${nodeId} is back, and until then it may run there`;
  return leftMs === 0
    ? `${verb}: the lease of node ${nodeId} is over`
    : `${verb} within ${inSeconds(leftMs)}, when the lease of node ${nodeId} is over`;
}

/** Until the VM has ended for sure on a node that does not answer; undefined for one that runs on without a lease. */
function leaseLeftMs({ clock, raft, stateMachine, leases }: LostParts, vm: VmRecord, nodeId: number) {
  if (policyOf(vm).onPartition === "keep") return undefined;
  const { longLease } = stateMachine.state.nodes.get(nodeKey(nodeId)) ?? {};
  const { term } = raft.coreStatus();
  return Math.max(0, Math.ceil(leases.leftMs(term, nodeId, clock.monotonicMs(), longLease?.ms)));
}

function whyLost(vm: VmRecord, nodeId: number): string {
  const where = hasEnded(vm) ? "is placed there" : "may still run there";
  return `node ${nodeId} does not answer, and the VM ${vm.name} ${where}`;
}

function leaseText(vm: VmRecord, nodeId: number, leftMs: number | undefined): string {
  const { onNodeLoss, onPartition } = policyOf(vm);
  if (onPartition === "keep" || hasEnded(vm)) return "";
  const when =
    leftMs === undefined || leftMs === 0
      ? `when the lease of node ${nodeId} is over`
      : `in ${inSeconds(leftMs)} at most, when the lease of node ${nodeId} is over`;
  return onNodeLoss === "move" ? `; it is started elsewhere ${when}` : `; it ends ${when}`;
}

function hintFor({ name }: VmRecord, nodeId: number, desired: VmDesired, leftMs: number | undefined): string {
  const when = leftMs === undefined ? `when node ${nodeId} is back` : `when the lease of node ${nodeId} is over`;
  switch (desired) {
    case "stopped":
      return `Record it: blixard vm stop ${name} --force, which takes effect ${when}. Or bring node ${nodeId} back.`;
    case "deleted":
      return `Forget it at once: blixard vm delete ${name} --force; what runs of it ends ${when}. Or bring node ${nodeId} back.`;
    default:
      return `Bring node ${nodeId} back, or see what may start elsewhere: blixard nodes evacuate ${nodeId} --dry-run.`;
  }
}

function inSeconds(ms: number): string {
  return `${Math.ceil(ms / 1_000)} s`;
}
