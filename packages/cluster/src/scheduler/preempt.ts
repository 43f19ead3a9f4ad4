/**
 * Which VMs would have to stop so that one of a higher priority fits: on one node, as few as will do, of priorities as low as will
 * do. A VM that is stopped keeps its disks, its ports and its place, and frees processors and memory.
 */
import type { VmSpec } from "@blixard/protocol";
import { schedule } from "./scheduler.ts";
import type { PlacementRequest, SchedulerOptions } from "./scheduler-types.ts";
import { noUsage } from "./usage.ts";

/** A VM that may be stopped. */
export interface Victim {
  readonly name: string;
  readonly node: number;
  readonly priority: number;
  readonly spec: Pick<VmSpec, "vcpus" | "memoryMiB">;
}

export interface Preemption {
  readonly nodeId: number;
  readonly victims: readonly Victim[];
}

/** VMs that are stopped for one other. */
const victimsMax = 8;

/** `victims` have a lower priority than the VM of the request. */
export function planPreemption(
  request: PlacementRequest,
  victims: readonly Victim[],
  options: SchedulerOptions,
): Preemption | undefined {
  const plans = request.nodes.flatMap(({ record }): Preemption[] => {
    const there = victims.filter(({ node }) => node === record.id);
    const chosen = fewestOf(there, (stopped) => fits(request, record.id, stopped, options));
    return chosen === undefined ? [] : [{ nodeId: record.id, victims: chosen }];
  });
  return plans.sort((a, b) => highest(a) - highest(b) || a.victims.length - b.victims.length || a.nodeId - b.nodeId)[0];
}

/** Adds them from the lowest priority on until it is enough, and leaves those alone that were not needed after all. */
function fewestOf(
  victims: readonly Victim[],
  suffices: (stopped: readonly Victim[]) => boolean,
): readonly Victim[] | undefined {
  const ordered = [...victims].sort(
    (a, b) => a.priority - b.priority || b.spec.memoryMiB - a.spec.memoryMiB || (a.name < b.name ? -1 : 1),
  );
  const count = ordered.findIndex((_, at) => suffices(ordered.slice(0, at + 1))) + 1;
  if (count === 0) return undefined;
  let chosen = ordered.slice(0, count);
  for (const victim of [...chosen].reverse()) {
    const without = chosen.filter((each) => each !== victim);
    if (suffices(without)) chosen = without;
  }
  return chosen.length > 0 && chosen.length <= victimsMax ? chosen : undefined;
}

function fits(
  request: PlacementRequest,
  nodeId: number,
  stopped: readonly Victim[],
  options: SchedulerOptions,
): boolean {
  const used = request.usage.get(nodeId) ?? noUsage;
  const left = {
    vms: used.vms - stopped.length,
    vcpus: stopped.reduce((sum, { spec }) => sum - spec.vcpus, used.vcpus),
    memoryMiB: stopped.reduce((sum, { spec }) => sum - spec.memoryMiB - options.overheadMemoryMiB, used.memoryMiB),
    diskMiB: used.diskMiB,
  };
  const nodes = request.nodes.filter(({ record }) => record.id === nodeId);
  return schedule({ ...request, nodes, usage: new Map([[nodeId, left]]) }, options).ok;
}

function highest({ victims }: Preemption): number {
  return Math.max(...victims.map(({ priority }) => priority));
}
