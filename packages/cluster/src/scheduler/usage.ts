/** What VMs and volumes take from the nodes that they are on. */
import {
  diskMiBOf,
  type ImageRecord,
  type Labels,
  type VmRecord,
  type VmSpec,
  type VolumeRecord,
  volumesOf,
} from "@blixard/protocol";

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
export interface UsageState {
  readonly vms: ReadonlyMap<string, VmRecord>;
  readonly images: ReadonlyMap<string, ImageRecord>;
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
  const usage = new Map<number, Usage>();
  const add = (nodeId: number, more: Partial<Usage>) => {
    const before = usage.get(nodeId) ?? noUsage;
    const { vms = 0, vcpus = 0, memoryMiB = 0, diskMiB = 0 } = more;
    usage.set(nodeId, {
      vms: before.vms + vms,
      vcpus: before.vcpus + vcpus,
      memoryMiB: before.memoryMiB + memoryMiB,
      diskMiB: before.diskMiB + diskMiB,
    });
  };
  const addVm = (nodeId: number, spec: VmSpec, runs: boolean) => {
    const image = state.images.get(spec.image);
    const ownMiB = image === undefined ? 0 : diskMiBOf(spec, image);
    // Volumes count where they are, and where they are to be.
    const diskMiB = ownMiB + volumesMiBOf(state, spec, nodeId);
    if (runs) {
      const memoryMiB = spec.memoryMiB + options.overheadMemoryMiB;
      add(nodeId, { vms: 1, vcpus: spec.vcpus, memoryMiB, diskMiB });
    } else if (diskMiB > 0) add(nodeId, { diskMiB });
  };
  for (const vm of state.vms.values()) {
    if (vm.name === without) continue;
    if (vm.node !== null) addVm(vm.node, largestSpec(vm), !isIdle(vm));
    // It is about to be there, with its disks.
    const { to, desired } = vm.held ?? {};
    if (to !== undefined) addVm(to, vm.spec, desired !== "stopped");
  }
  for (const reservation of reservations) addVm(reservation.nodeId, reservation.spec, true);
  for (const volume of state.volumes.values()) add(volume.node, { diskMiB: volumeMiBOf(volume) });
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
function volumeMiBOf({ sizeGiB, snapshots = [] }: VolumeRecord): number {
  return snapshots.reduce((sum, snapshot) => sum + snapshot.sizeGiB, sizeGiB) * mebibytesPerGib;
}

/** A VM that is to become smaller takes what its process was started with until it starts again. */
function largestSpec({ spec, startedWith }: VmRecord): VmSpec {
  if (startedWith === undefined) return spec;
  const { vcpus, memoryMiB } = startedWith;
  if (vcpus <= spec.vcpus && memoryMiB <= spec.memoryMiB) return spec;
  return { ...spec, vcpus: Math.max(vcpus, spec.vcpus), memoryMiB: Math.max(memoryMiB, spec.memoryMiB) };
}

/** Whether a VM takes no processor and no memory, and will not by itself. */
export function isIdle({ desired, phase }: Pick<VmRecord, "desired" | "phase">): boolean {
  return desired === "stopped" && (phase === "Stopped" || phase === "Failed");
}
