/** What VMs and volumes take from the nodes that they are on. */
import { diskMiBOf, type Labels, type VmRecord, type VmSpec, type VolumeRecord, volumesOf } from "@blixard/protocol";
import { type VmIndexState, vmIndexOf } from "./vm-index.ts";

/** What is taken from a node. */
export interface Usage {
  readonly vms: number;
  readonly vcpus: number;
  readonly memoryMiB: number;
  /** What the disks and volumes there may take when they are full. */
  readonly diskMiB: number;
}

/** Room that was promised to a VM whose record is not applied yet. */
export interface Reservation {
  readonly nodeId: number;
  readonly spec: VmSpec;
  readonly labels?: Labels;
}

export function reservationOf({ spec, labels }: Pick<VmRecord, "spec" | "labels">, nodeId: number): Reservation {
  return { nodeId, spec, ...(labels === undefined ? {} : { labels }) };
}

/** The part of the replicated state from which it follows. */
export interface UsageState extends VmIndexState {
  readonly volumes: ReadonlyMap<string, VolumeRecord>;
}

export const noUsage: Usage = { vms: 0, vcpus: 0, memoryMiB: 0, diskMiB: 0 };

const mebibytesPerGib = 1024;

/** What is taken of each node, but for the VM `without`. One that is stopped, and meant to be, takes nothing but its disks. */
export function usageByNode(
  state: UsageState,
  reservations: Iterable<Reservation>,
  options: { readonly overheadMemoryMiB: number },
  without?: string,
): Map<number, Usage> {
  const usage = new Map<number, { -readonly [Of in keyof Usage]: number }>();
  for (const [nodeId, { vms, vcpus, memoryMiB, diskMiB }] of vmIndexOf(state).takenByNode(without)) {
    usage.set(nodeId, { vms, vcpus, memoryMiB: memoryMiB + vms * options.overheadMemoryMiB, diskMiB });
  }
  const of = (nodeId: number) => {
    const known = usage.get(nodeId) ?? { ...noUsage };
    usage.set(nodeId, known);
    return known;
  };
  for (const { nodeId, spec } of reservations) {
    const image = state.images.get(spec.image);
    const sum = of(nodeId);
    sum.vms++;
    sum.vcpus += spec.vcpus;
    sum.memoryMiB += spec.memoryMiB + options.overheadMemoryMiB;
    sum.diskMiB += (image === undefined ? 0 : diskMiBOf(spec, image)) + volumesMiBOf(state, spec, nodeId);
  }
  // Volumes count where they are, and where they are to be.
  for (const name of vmIndexOf(state).moving) {
    const { held, spec } = state.vms.get(name) ?? {};
    if (name === without || held?.to === undefined || spec === undefined) continue;
    const diskMiB = volumesMiBOf(state, spec, held.to);
    if (diskMiB > 0) of(held.to).diskMiB += diskMiB;
  }
  for (const volume of state.volumes.values()) {
    of(volume.node).diskMiB += volumeMiBOf(volume);
    if (volume.moving !== undefined) of(volume.moving.to).diskMiB += volumeMiBOf(volume);
  }
  return usage;
}

/** What the volumes of a VM take, but for those that are on the node `without`. */
export function volumesMiBOf({ volumes }: Pick<UsageState, "volumes">, spec: VmSpec, without?: number): number {
  return volumesOf(spec).reduce((sum, name) => {
    const volume = volumes.get(name);
    return sum + (volume === undefined || volume.node === without ? 0 : volumeMiBOf(volume));
  }, 0);
}

/** What a volume may take with its snapshots, when each of them shares nothing with it. */
export function volumeMiBOf({ sizeGiB, snapshots = [] }: VolumeRecord): number {
  return snapshots.reduce((sum, snapshot) => sum + snapshot.sizeGiB, sizeGiB) * mebibytesPerGib;
}
