/**
 * A volume that no VM has goes to another node. Until that has all of it, the record names the node that it was on, and nothing
 * is done with it that would change it:
 *
 *     operation.start --> moving, in a new epoch -- the other node has copied it --> volume.carry --> the other node's
 *                              |
 *                              '-- the operation ends --> not moving any more
 */
import {
  type CommandBodyOf,
  type DiskCopyObservation,
  limits,
  type OperationRecord,
  type VolumeRecord,
} from "@blixard/protocol";
import { done, nodeNotFound, refuse, volumeNotFound } from "./outcomes.ts";
import { nodeKey, sortedRecords } from "./state.ts";
import type { Change, ClusterState, CommandEntry, Outcome } from "./types.ts";

/** Why nothing that changes a volume, or gives it to a VM, can be done while it goes to another node; undefined when it can. */
export function movingRefusal({ name, moving }: VolumeRecord): Outcome | undefined {
  if (moving === undefined) return undefined;
  const { operation, to } = moving;
  const hint = `Wait for it: blixard operations wait ${operation}. Or end it: blixard operations cancel ${operation}.`;
  return refuse("CONFLICT", `the volume ${name} goes to node ${to}`, hint);
}

/** The volume of an operation that begins, or why it cannot go. */
export function volumeThatMoves(
  state: ClusterState,
  { id, nodeId, to = 0, volume: named }: OperationRecord,
  { index }: CommandEntry,
): VolumeRecord | Outcome {
  const { name = "", volumeId } = named ?? {};
  const volume = state.volumes.get(name);
  if (volume === undefined || volume.volumeId !== volumeId) return volumeNotFound(name);
  if (volume.node !== nodeId)
    return refuse("CONFLICT", `the volume ${name} is on node ${volume.node} now`, "Try again.");
  const target = state.nodes.get(nodeKey(to));
  if (target === undefined) return nodeNotFound(to);
  if (target.leaving) return refuse("CONFLICT", `node ${to} is leaving the cluster`);
  if (to === nodeId) return refuse("CONFLICT", `the volume ${name} is on node ${to} already`, "Name another node.");
  const refused = movingRefusal(volume) ?? stayRefusal(state, volume);
  if (refused !== undefined) return refused;
  const epoch = volume.epoch + 1;
  return { ...volume, epoch, moving: { operation: id, to, epoch }, updatedIndex: index };
}

/** Why a volume stays where it is; undefined when it can go. */
function stayRefusal(state: ClusterState, volume: VolumeRecord): Outcome | undefined {
  const { name, attachedTo, sizeGiB, volumeId, snapshots = [] } = volume;
  if (attachedTo !== null) {
    const hint =
      `Move the VM, which takes it along: blixard vm move ${attachedTo}. ` +
      `Or detach it first: blixard volume detach ${name}`;
    return refuse("CONFLICT", `the VM ${attachedTo} has the volume ${name}, and is where that is`, hint);
  }
  if (volume.state !== "ready") return refuse("CONFLICT", `the volume ${name} is ${volume.state}`, "Try again.");
  if (volume.came !== undefined)
    return refuse("CONFLICT", `the volume ${name} is still put in its place`, "Try again.");
  if (volume.restoring !== undefined || snapshots.some(({ state: now }) => now !== "ready")) {
    return refuse("CONFLICT", `a snapshot of the volume ${name} is being worked on`, "Try again.");
  }
  const copy = sortedRecords(state, "volumes").find(({ sourceId }) => sourceId === volumeId);
  if (copy !== undefined) {
    return refuse("CONFLICT", `the volume ${copy.name} is still being copied from ${name}`, "Try again.");
  }
  if (sizeGiB <= limits.diskCopyGiBMax) return undefined;
  const { diskCopyGiBMax: most } = limits;
  return refuse("CONFLICT", `the volume ${name} has ${sizeGiB} GiB, and no more than ${most} GiB are copied`);
}

export function applyCarry(state: ClusterState, body: CommandBodyOf<"volume.carry">, { index }: CommandEntry): Outcome {
  const volume = state.volumes.get(body.name);
  if (volume === undefined || volume.volumeId !== body.volumeId) return volumeNotFound(body.name);
  const { moving, ...left } = volume;
  if (moving?.epoch !== body.epoch || moving.copy?.state !== "copied") {
    return refuse("STALE_EPOCH", `the volume ${body.name} was not copied in epoch ${body.epoch}`);
  }
  const target = state.nodes.get(nodeKey(moving.to));
  if (target === undefined) return nodeNotFound(moving.to);
  if (target.leaving) return refuse("CONFLICT", `node ${moving.to} is leaving the cluster`);
  const value = carriedTo(left, moving.to, { vmId: volume.volumeId, epoch: moving.epoch }, index);
  return done({ volume: value }, [{ table: "volumes", key: body.name, value }]);
}

/** The volume on the node that has a copy of it; what is left behind is older, and goes when that is in its place. */
export function carriedTo(
  volume: VolumeRecord,
  to: number,
  came: NonNullable<VolumeRecord["came"]>,
  index: number,
): VolumeRecord {
  const { node } = volume;
  const leftOn = [...(volume.leftOn ?? []).filter((left) => left !== to && left !== node), node];
  return {
    ...volume,
    node: to,
    epoch: volume.epoch + 1,
    state: "pending",
    came,
    leftOn: leftOn.slice(-limits.vmCopiesLeftMax),
    updatedIndex: index,
  };
}

/** What a node says of the volumes that it takes. What is not so any more is void. */
export function withVolumeCopies(
  state: ClusterState,
  nodeId: number,
  copies: readonly DiskCopyObservation[],
  index: number,
): Change[] {
  const seen = new Map(copies.map((copy) => [copy.vmId, copy]));
  return sortedRecords(state, "volumes").flatMap((volume): Change[] => {
    const { moving } = volume;
    const copy = moving === undefined ? undefined : seen.get(volume.volumeId);
    if (moving === undefined || copy === undefined || moving.to !== nodeId || moving.epoch !== copy.epoch) return [];
    if (moving.copy !== undefined && moving.copy.state !== "copying") return [];
    const { vmId: _, epoch: __, state: now, names: ___, ...said } = copy;
    if (now === "dropped") return [];
    const value: VolumeRecord = {
      ...volume,
      moving: { ...moving, copy: { state: now, ...said } },
      updatedIndex: index,
    };
    return [{ table: "volumes", key: volume.name, value }];
  });
}

/** The volume of an operation that ends before the other node has it stays where it was. */
export function stayed(state: ClusterState, ended: OperationRecord, { index }: CommandEntry): Change[] {
  const volume = state.volumes.get(ended.volume?.name ?? "");
  if (volume?.moving?.operation !== ended.id) return [];
  const { moving: _, ...left } = volume;
  return [{ table: "volumes", key: volume.name, value: { ...left, updatedIndex: index } }];
}
