/** Which disks this node takes from others, which of them others may take from here, and what it has let go: pure functions. */
import {
  type DiskCopyObservation,
  type VmObservation,
  type VmRecord,
  type VolumeRecord,
  volumesOf,
} from "@blixard/protocol";
import type { CopyKey, DiskPart } from "@blixard/vm-manager";
import { nodeKey, sortedRecords, vmsCopiedAt } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { isCopied } from "../state-machine/vm-hold.ts";
import { hasEnded } from "../state-machine/vm-move.ts";
import { hasOldCopy } from "./desired-vms.ts";

/** Disks that this node is to take. */
export interface WantedCopy extends CopyKey {
  readonly source: number;
  /** Those that the other node must have. */
  readonly names: readonly string[];
  /** Files of volumes that go along: the id of a volume, or of it and of a snapshot of it. */
  readonly volumeFiles: readonly string[];
}

export function wantedCopies(state: ClusterState, nodeId: number): WantedCopy[] {
  const volumes = sortedRecords(state, "volumes").flatMap((volume): WantedCopy[] => {
    const { moving, node: source, volumeId } = volume;
    if (moving?.to !== nodeId || (moving.copy !== undefined && moving.copy.state !== "copying")) return [];
    return [{ vmId: volumeId, epoch: moving.epoch, source, names: [], volumeFiles: filesOf(volume) }];
  });
  const ofVms = vmsCopiedAt(state, nodeId).flatMap((vm): WantedCopy[] => {
    const { vmId, node, held, spec, disks } = vm;
    if (held?.to !== nodeId || held.epoch === undefined || node === null || !hasEnded(vm)) return [];
    if (isCopied(vm) || held.copy?.state === "failed") return [];
    const ephemeral = new Set(spec.disks?.flatMap((disk) => (disk.ephemeral === true ? [disk.name] : [])));
    const made = disks?.node === node ? disks.names : [];
    const names = made.filter((name) => !ephemeral.has(name));
    return [{ vmId, epoch: held.epoch, source: node, names, volumeFiles: volumeFilesOf(state, vm) }];
  });
  return [...ofVms, ...volumes];
}

/** The names of the files of the volumes of a VM, with their snapshots, which go where it goes. */
export function volumeFilesOf({ volumes }: Pick<ClusterState, "volumes">, { name, spec }: VmRecord): string[] {
  return volumesOf(spec).flatMap((volume) => {
    const record = volumes.get(volume);
    return record?.attachedTo === name ? filesOf(record) : [];
  });
}

/** The names of the files of a volume: its id, and with that of each snapshot. */
function filesOf({ volumeId, snapshots = [] }: VolumeRecord): string[] {
  return [volumeId, ...snapshots.map(({ snapshotId }) => `${volumeId}.${snapshotId}`)];
}

/** What this node has put aside, or puts aside, and is still to be used: a volume that came with a VM outlives that. */
export function keptCopies(state: ClusterState, nodeId: number): CopyKey[] {
  const volumes = sortedRecords(state, "volumes").flatMap(({ node, came, moving, volumeId }): CopyKey[] => {
    if (moving?.to === nodeId) return [{ vmId: volumeId, epoch: moving.epoch }];
    return came === undefined || node !== nodeId ? [] : [came];
  });
  const ofVms = vmsCopiedAt(state, nodeId).flatMap(({ vmId, node, held, moved }): CopyKey[] => {
    if (held?.to === nodeId && held.epoch !== undefined) return [{ vmId, epoch: held.epoch }];
    return node === nodeId && moved?.node === nodeId ? [{ vmId, epoch: moved.epoch }] : [];
  });
  return [...ofVms, ...volumes];
}

/**
 * The VM on this node whose disks the holder of a key may read: it is held for that node, in this epoch, and has ended.
 * Undefined: there is none.
 */
export function readableCopy(
  state: ClusterState,
  nodeId: number,
  { vmId, epoch, reader }: CopyKey & { readonly reader: string },
): VmRecord | undefined {
  const vm = state.vms.get(state.vmNames.get(vmId) ?? "");
  if (vm?.node !== nodeId || vm.held?.to === undefined || vm.held.epoch !== epoch || !hasEnded(vm)) return undefined;
  const target = state.nodes.get(nodeKey(vm.held.to));
  return target?.endpointId === reader ? vm : undefined;
}

/** The files of the volume on this node that goes, in this epoch, to the node that holds a key. Undefined: there is none. */
export function readableVolume(
  state: ClusterState,
  nodeId: number,
  { vmId: volumeId, epoch, reader }: CopyKey & { readonly reader: string },
): string[] | undefined {
  for (const volume of state.volumes.values()) {
    const { moving } = volume;
    if (volume.volumeId !== volumeId || volume.node !== nodeId || moving?.epoch !== epoch) continue;
    return state.nodes.get(nodeKey(moving.to))?.endpointId === reader ? filesOf(volume) : undefined;
  }
  return undefined;
}

/** Older copies of this node that are gone, and that the state still knows of. */
export function droppedCopies(
  state: ClusterState,
  nodeId: number,
  observations: Pick<ReadonlyMap<string, VmObservation>, "get">,
): DiskCopyObservation[] {
  return vmsCopiedAt(state, nodeId).flatMap((vm): DiskCopyObservation[] => {
    if (!hasOldCopy(vm, nodeId) || observations.get(vm.vmId)?.phase !== "Deleted") return [];
    const none = { doneBytes: 0, wholeBytes: 0, bytesPerSecond: 0, message: "" };
    return [{ vmId: vm.vmId, epoch: vm.fencingEpoch, state: "dropped", ...none }];
  });
}

/** The name of a part of disks on the bulk lane. */
export function diskPartName({ vmId, epoch }: CopyKey, part: DiskPart): string {
  return `${vmId.toLowerCase()}-${epoch}-${part}`;
}

export function diskPartOf(id: string): (CopyKey & { readonly part: DiskPart }) | undefined {
  const [, vmId, epoch, part] = /^([0-9a-f-]{36})-(\d{1,15})-(index|\d{1,3})$/.exec(id) ?? [];
  if (vmId === undefined || part === undefined) return undefined;
  return { vmId, epoch: Number(epoch), part: part === "index" ? part : Number(part) };
}
