/** Whether a VM finds room on a node. */
import { diskMiBOf, type NodeCapacity, type NodeRecord } from "@blixard/protocol";
import type { PlacementRequest, SchedulerOptions } from "./scheduler-types.ts";
import type { Usage } from "./usage.ts";

/** What may be taken of a node. */
export interface Allowed {
  readonly vcpus: number;
  readonly memoryMiB: number;
  /** Undefined where the node does not say. */
  readonly diskMiB: number | undefined;
}

export function allowedOf({ vcpus, memoryMiB, disk }: NodeCapacity, options: SchedulerOptions): Allowed {
  return {
    vcpus: Math.floor(vcpus * options.vcpuOvercommit),
    memoryMiB,
    diskMiB: disk === undefined ? undefined : Math.floor(disk.totalMiB * options.diskOvercommit),
  };
}

/** Why there is no room; undefined when there is. */
export function roomRefusal(
  { id, capacity }: Pick<NodeRecord, "id" | "capacity">,
  used: Usage,
  { spec, image, presentOn, carriedMiB = 0 }: Pick<PlacementRequest, "spec" | "image" | "presentOn" | "carriedMiB">,
  options: SchedulerOptions,
): string | undefined {
  const allowed = allowedOf(capacity, options);
  const needMiB = spec.memoryMiB + options.overheadMemoryMiB;
  const freeMiB = allowed.memoryMiB - used.memoryMiB;
  if (needMiB > freeMiB) {
    const overhead = `${spec.memoryMiB} + ${options.overheadMemoryMiB} overhead`;
    return `memory needs ${needMiB} MiB (${overhead}), ${Math.max(0, freeMiB)} free`;
  }
  if (spec.vcpus > allowed.vcpus - used.vcpus) {
    return `vcpus needs ${spec.vcpus}, ${Math.max(0, allowed.vcpus - used.vcpus)} of ${allowed.vcpus} free`;
  }
  // Disks that are there already are there.
  return presentOn === id ? undefined : diskRefusal(capacity, used, diskMiBOf(spec, image) + carriedMiB, options);
}

/**
 * Why a node cannot promise so much more to disks; undefined when it can. What was promised need not be written yet, and what
 * is written need not be promised to disks: both have to leave room.
 */
export function diskRefusal(
  capacity: NodeCapacity,
  used: Pick<Usage, "diskMiB">,
  needMiB: number,
  options: SchedulerOptions,
): string | undefined {
  const { diskMiB: allowedMiB } = allowedOf(capacity, options);
  if (needMiB === 0 || capacity.disk === undefined || allowedMiB === undefined) return undefined;
  const leftMiB = Math.max(0, allowedMiB - used.diskMiB);
  if (needMiB > leftMiB) return `disks need ${needMiB} MiB, ${leftMiB} of ${allowedMiB} are not promised`;
  const freeMiB = Math.floor(capacity.disk.freeMiB * options.diskOvercommit);
  return needMiB > freeMiB ? `disks need ${needMiB} MiB, ${capacity.disk.freeMiB} are free there` : undefined;
}

/** The largest part, in percent, of what may be taken of a node that is taken with the VM on it. */
export function loadPercent(
  capacity: NodeCapacity,
  used: Usage,
  { spec, image }: Pick<PlacementRequest, "spec" | "image">,
  options: SchedulerOptions,
): number {
  const allowed = allowedOf(capacity, options);
  const diskMiB = diskMiBOf(spec, image);
  const parts = [
    percent(used.memoryMiB + spec.memoryMiB + options.overheadMemoryMiB, allowed.memoryMiB),
    percent(used.vcpus + spec.vcpus, allowed.vcpus),
    diskMiB === 0 || allowed.diskMiB === undefined ? 0 : percent(used.diskMiB + diskMiB, allowed.diskMiB),
  ];
  return Math.max(...parts);
}

function percent(part: number, whole: number): number {
  return whole === 0 ? 100 : Math.min(100, Math.floor((100 * part) / whole));
}
