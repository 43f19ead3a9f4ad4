/**
 * Chooses a node for a VM: a pure function of what the leader knows. Nodes that cannot take the VM are filtered out,
 * each with its reason; of the rest, the one with the fewest VMs is taken, so that VMs spread over the machines.
 */
import {
  driverRefusal,
  type ImageRecord,
  type NodeCapacity,
  type NodeRecord,
  type VmRecord,
  type VmSpec,
} from "@blixard/protocol";

export interface SchedulerOptions {
  /** Memory that a VM takes beside its guest's, in MiB. Measured 60 to 95 for QEMU. */
  readonly overheadMemoryMiB: number;
  /** Virtual CPUs that one processor of a node may carry. */
  readonly vcpuOvercommit: number;
}

export const schedulerDefaults: SchedulerOptions = { overheadMemoryMiB: 64, vcpuOvercommit: 8 };

/** A node as the scheduler sees it. */
export interface SchedulerNode {
  readonly record: NodeRecord;
  /** What the leader heard from it lately. */
  readonly reachable: boolean;
  /** Why it cannot take this VM, for a reason that its record does not show. */
  readonly refusal?: string;
}

/** What VMs take from the node that owns them. */
export interface Usage {
  readonly vms: number;
  readonly vcpus: number;
  readonly memoryMiB: number;
}

/** Room that was promised to a VM whose record is not applied yet. */
export interface Reservation {
  readonly nodeId: number;
  readonly spec: VmSpec;
}

export interface PlacementRequest {
  readonly spec: VmSpec;
  readonly image: ImageRecord;
  readonly nodes: readonly SchedulerNode[];
  readonly usage: ReadonlyMap<number, Usage>;
}

export type PlacementDecision =
  | { readonly ok: true; readonly nodeId: number; readonly reasons: string }
  | { readonly ok: false; readonly code: "NO_CAPACITY"; readonly message: string; readonly hint: string };

const noUsage: Usage = { vms: 0, vcpus: 0, memoryMiB: 0 };

/** What the VMs of each node take. One that is stopped, and meant to be, takes nothing. */
export function usageByNode(
  vms: Iterable<VmRecord>,
  reservations: Iterable<Reservation> = [],
  options: SchedulerOptions = schedulerDefaults,
): Map<number, Usage> {
  const usage = new Map<number, Usage>();
  const add = (nodeId: number, spec: VmSpec) => {
    const before = usage.get(nodeId) ?? noUsage;
    usage.set(nodeId, {
      vms: before.vms + 1,
      vcpus: before.vcpus + spec.vcpus,
      memoryMiB: before.memoryMiB + spec.memoryMiB + options.overheadMemoryMiB,
    });
  };
  for (const vm of vms) {
    const idle = vm.desired === "stopped" && (vm.phase === "Stopped" || vm.phase === "Failed");
    if (vm.node !== null && !idle) add(vm.node, vm.spec);
  }
  for (const reservation of reservations) add(reservation.nodeId, reservation.spec);
  return usage;
}

export function schedule(request: PlacementRequest, options: SchedulerOptions = schedulerDefaults): PlacementDecision {
  const nodes = [...request.nodes].sort((a, b) => a.record.id - b.record.id);
  const fitting: SchedulerNode[] = [];
  const refusals: string[] = [];
  for (const node of nodes) {
    const reason = refusalOf(node, request, options);
    if (reason === undefined) fitting.push(node);
    else refusals.push(`node ${node.record.id}: ${reason}`);
  }
  const best = fitting.sort((a, b) => compare(a, b, request.usage))[0];
  if (best === undefined) return noCapacity(nodes.length, refusals);
  const used = request.usage.get(best.record.id) ?? noUsage;
  const free = best.record.capacity.memoryMiB - used.memoryMiB;
  const reasons = [
    `node ${best.record.id} has the fewest VMs (${used.vms}) of the ${fitting.length} of ${nodes.length} that fit`,
    `${free} MiB were free`,
    ...refusals,
  ].join("; ");
  return { ok: true, nodeId: best.record.id, reasons: reasons.slice(0, reasonsLengthMax) };
}

const reasonsLengthMax = 1_024;

function noCapacity(count: number, refusals: readonly string[]): PlacementDecision {
  const why = refusals.length === 0 ? "there is no node" : refusals.join("; ");
  return {
    ok: false,
    code: "NO_CAPACITY",
    message: `0 of ${count} nodes fit: ${why}`.slice(0, reasonsLengthMax),
    hint: "Ask for less, free some room, or add a node.",
  };
}

/** Fewest VMs first, then most free memory, then the lowest id. */
function compare(a: SchedulerNode, b: SchedulerNode, usage: ReadonlyMap<number, Usage>): number {
  const usedA = usage.get(a.record.id) ?? noUsage;
  const usedB = usage.get(b.record.id) ?? noUsage;
  if (usedA.vms !== usedB.vms) return usedA.vms - usedB.vms;
  const freeA = a.record.capacity.memoryMiB - usedA.memoryMiB;
  const freeB = b.record.capacity.memoryMiB - usedB.memoryMiB;
  return freeA === freeB ? a.record.id - b.record.id : freeB - freeA;
}

/** Why `node` cannot take the VM; undefined when it can. */
function refusalOf(node: SchedulerNode, request: PlacementRequest, options: SchedulerOptions): string | undefined {
  const { record } = node;
  if (!runsVms(record)) return `a ${record.role} runs no VMs`;
  if (record.leaving) return "it is leaving the cluster";
  if (record.cordoned) return "it is cordoned";
  if (node.refusal !== undefined) return node.refusal;
  if (!node.reachable) return "it does not answer";
  return (
    driversRefusal(record.capacity, request) ??
    roomRefusal(record.capacity, request.usage.get(record.id) ?? noUsage, request.spec, options)
  );
}

/** Whether VMs may be placed on a node of this role. A learner only follows, and a witness only votes. */
function runsVms(node: Pick<NodeRecord, "role">): boolean {
  return node.role === "voter" || node.role === "worker";
}

function driversRefusal({ drivers, capabilities }: NodeCapacity, request: PlacementRequest): string | undefined {
  if (drivers.length === 0) return "it has no VM driver";
  // A node of a release that publishes no capabilities looks itself, when it starts the VM.
  if (capabilities === undefined) return undefined;
  const reasons = capabilities.map((driver) => driverRefusal(driver.kind, driver, request));
  // One driver that can is enough; otherwise the best one says why not.
  return reasons.includes(undefined) ? undefined : reasons[0];
}

function roomRefusal(capacity: NodeCapacity, used: Usage, spec: VmSpec, options: SchedulerOptions): string | undefined {
  const needMiB = spec.memoryMiB + options.overheadMemoryMiB;
  const freeMiB = capacity.memoryMiB - used.memoryMiB;
  if (needMiB > freeMiB) {
    const overhead = `${spec.memoryMiB} + ${options.overheadMemoryMiB} overhead`;
    return `memory needs ${needMiB} MiB (${overhead}), ${Math.max(0, freeMiB)} free`;
  }
  if (spec.vcpus > capacity.vcpus * options.vcpuOvercommit - used.vcpus) {
    const allowed = capacity.vcpus * options.vcpuOvercommit;
    return `vcpus needs ${spec.vcpus}, ${Math.max(0, allowed - used.vcpus)} of ${allowed} free`;
  }
  return undefined;
}
