/**
 * Commands of volumes, and how VMs take and leave them. A volume has one VM at most, from the entry that makes the VM to the
 * one that forgets it: whoever reads the state knows who may write.
 */
import {
  type CommandBodyOf,
  limits,
  type VmRecord,
  type VmSpec,
  type VolumeObservation,
  type VolumeRecord,
  volumesOf,
} from "@blixard/protocol";
import { done, nodeNotFound, refuse, volumeNotFound } from "./outcomes.ts";
import { preconditionFailed } from "./precondition.ts";
import { secretGone } from "./secret.ts";
import { nodeKey, sortedRecords } from "./state.ts";
import type { AppliersOf, Change, ClusterState, CommandEntry, Outcome } from "./types.ts";
import { hasEnded } from "./vm-phase.ts";
import { applyCarry, carriedTo, movingRefusal } from "./volume-move.ts";
import { applySnapshot, settledSnapshots, snapshotRefusal } from "./volume-snapshot.ts";

export const volumeAppliers: AppliersOf<"volume"> = {
  "volume.create": applyCreate,
  "volume.resize": applyResize,
  "volume.snapshot": applySnapshot,
  "volume.carry": applyCarry,
  "volume.delete": applyDelete,
  "volume.observe": applyObserve,
};

function applyCreate(state: ClusterState, body: CommandBodyOf<"volume.create">, entry: CommandEntry): Outcome {
  const { name, volumeId, sizeGiB, kind, node, source, importDigest } = body;
  if (source !== undefined && importDigest !== undefined) {
    return refuse("INVALID_ARGUMENT", "a volume is a copy of another one, or is imported, and not both");
  }
  if (state.volumes.has(name)) {
    return refuse(
      "ALREADY_EXISTS",
      `there is a volume ${name} already`,
      "Choose another name, or delete that one first.",
    );
  }
  if (sortedRecords(state, "volumes").some((other) => other.volumeId === volumeId)) {
    return refuse("CONFLICT", `the volume id ${volumeId} is in use`);
  }
  if (state.volumes.size >= limits.volumesMax)
    return refuse("CONFLICT", `there are ${limits.volumesMax} volumes already`);
  const record = state.nodes.get(nodeKey(node));
  if (record === undefined) return nodeNotFound(node);
  if (record.leaving) return refuse("CONFLICT", `node ${node} is leaving the cluster`, "Try again.");
  const original = source === undefined ? undefined : state.volumes.get(source);
  const failed =
    preconditionFailed(entry.command, `volume ${name}`, 0) ??
    (source === undefined ? undefined : copyRefusal(state, source, { sizeGiB, node }));
  if (failed !== undefined) return failed;
  return stored({
    ...{ name, volumeId, sizeGiB, kind, node, copies: 1, epoch: 0, madeGiB: 0, attachedTo: null },
    ...(original === undefined ? {} : { sourceId: original.volumeId }),
    ...(importDigest === undefined ? {} : { importDigest }),
    state: "pending",
    createdUnixMs: entry.command.atUnixMs,
    createdIndex: entry.index,
    updatedIndex: entry.index,
  });
}

/** Why a volume of this size cannot be a copy of another one; undefined when it can. */
export function copyRefusal(
  state: ClusterState,
  source: string,
  { sizeGiB, node }: Pick<VolumeRecord, "sizeGiB" | "node">,
): Outcome | undefined {
  const volume = state.volumes.get(source);
  if (volume === undefined) return volumeNotFound(source);
  if (volume.state === "deleting" || volume.state === "missing" || volume.madeGiB === 0) {
    return refuse("CONFLICT", `the volume ${source} is ${volume.state}`);
  }
  if (volume.node !== node)
    return refuse("CONFLICT", `the volume ${source} is on node ${volume.node}, and so is a copy`);
  const underWay = underWayRefusal(state, volume);
  if (underWay !== undefined) return underWay;
  if (sizeGiB < volume.sizeGiB) {
    return refuse("CONFLICT", `the volume ${source} has ${volume.sizeGiB} GiB, and a copy has no less`);
  }
  const user = runningUser(state, volume);
  if (user === undefined) return undefined;
  const hint = `Stop the VM, or detach the volume: blixard vm stop ${user}; blixard volume detach ${source}`;
  return refuse("CONFLICT", `the VM ${user} runs with the volume ${source}, and changes it`, hint);
}

/** The VM that may run with a volume at this moment. */
export function runningUser({ vms }: Pick<ClusterState, "vms">, { attachedTo }: VolumeRecord): string | undefined {
  const vm = attachedTo === null ? undefined : vms.get(attachedTo);
  return vm === undefined || hasEnded(vm) || vm.node === null ? undefined : vm.name;
}

function applyResize(
  state: ClusterState,
  { name, sizeGiB }: CommandBodyOf<"volume.resize">,
  entry: CommandEntry,
): Outcome {
  const volume = state.volumes.get(name);
  if (volume === undefined) return volumeNotFound(name);
  const failed = preconditionFailed(entry.command, `volume ${name}`, volume.updatedIndex);
  if (failed !== undefined) return failed;
  if (volume.state === "deleting") return refuse("CONFLICT", `the volume ${name} is being deleted`);
  if (sizeGiB < volume.sizeGiB) {
    const hint = "What is on it would be cut off. Make another one, and copy what you need.";
    return refuse("CONFLICT", `the volume ${name} has ${volume.sizeGiB} GiB, and becomes no smaller`, hint);
  }
  if (sizeGiB === volume.sizeGiB) return done({ volume });
  if (volume.importDigest !== undefined) {
    const hint = "Import it to its end first: the same command goes on where it stopped. Or delete it.";
    return refuse("CONFLICT", `the volume ${name} is being imported, and has its size only then`, hint);
  }
  const underWay = underWayRefusal(state, volume);
  if (underWay !== undefined) return underWay;
  const changed = volume.state === "ready" ? ("pending" as const) : volume.state;
  return stored({ ...volume, sizeGiB, state: changed, updatedIndex: entry.index });
}

function applyDelete(state: ClusterState, { name }: CommandBodyOf<"volume.delete">, entry: CommandEntry): Outcome {
  const volume = state.volumes.get(name);
  if (volume === undefined) return volumeNotFound(name);
  const failed = preconditionFailed(entry.command, `volume ${name}`, volume.updatedIndex);
  if (failed !== undefined) return failed;
  if (volume.attachedTo !== null) {
    const hint = `Delete the VM first: blixard vm delete ${volume.attachedTo}`;
    return refuse("CONFLICT", `the VM ${volume.attachedTo} has the volume ${name}`, hint);
  }
  const moving = movingRefusal(volume);
  if (moving !== undefined) return moving;
  const copy = sortedRecords(state, "volumes").find(({ sourceId }) => sourceId === volume.volumeId);
  if (copy !== undefined) {
    return refuse(
      "CONFLICT",
      `the volume ${copy.name} is still being copied from ${name}`,
      "Try again, or delete that.",
    );
  }
  const gone: VolumeRecord = { ...volume, state: "deleting", updatedIndex: entry.index };
  // Nobody is left who could say that it is gone.
  if (!state.nodes.has(nodeKey(volume.node))) return done({ volume: gone }, [removal(name)]);
  return volume.state === "deleting" ? done({ volume }) : stored(gone);
}

/** Refuses what would change a volume, or hold it to its node, while it goes to another one. */
function underWayRefusal({ vms }: ClusterState, volume: VolumeRecord): Outcome | undefined {
  const { name, attachedTo } = volume;
  const moving = movingRefusal(volume);
  if (moving !== undefined) return moving;
  const { held } = (attachedTo === null ? undefined : vms.get(attachedTo)) ?? {};
  if (held?.to === undefined) return undefined;
  const hint = `Wait for it: blixard operations wait ${held.operation}`;
  return refuse("CONFLICT", `the volume ${name} goes to node ${held.to} with the VM ${attachedTo}`, hint);
}

/** What is said by a node that has nothing of the volume, or as of another epoch, is void. */
function applyObserve(state: ClusterState, body: CommandBodyOf<"volume.observe">, { index }: CommandEntry): Outcome {
  const seen = new Map(body.observations.map((observation) => [observation.volumeId, observation]));
  const changes: Change[] = [];
  for (const volume of sortedRecords(state, "volumes")) {
    const observation = seen.get(volume.volumeId);
    if (observation === undefined || !isVolumeNews(volume, observation, body.nodeId)) continue;
    if (volume.node !== body.nodeId) {
      changes.push(change({ ...withoutCopyOn(volume, body.nodeId), updatedIndex: index }));
    } else if (observation.state === "deleted") changes.push(removal(volume.name));
    else changes.push(change({ ...settled(volume, observation), updatedIndex: index }));
  }
  return done({ accepted: changes.length }, changes);
}

/** Without what is over when its node has it as it is to be. */
function settled(volume: VolumeRecord, seen: VolumeObservation): VolumeRecord {
  const { sourceId, importDigest, came, restoring, snapshots, problem, ...rest } = volume;
  const parts = observedParts(volume, seen);
  const isMade = parts.madeGiB > 0;
  const isInPlace = seen.state === "ready";
  return {
    ...rest,
    ...(isMade || sourceId === undefined ? {} : { sourceId }),
    ...(isMade || importDigest === undefined ? {} : { importDigest }),
    ...(isInPlace || came === undefined ? {} : { came }),
    ...(isInPlace || restoring === undefined ? {} : { restoring }),
    ...(isInPlace
      ? settledSnapshots(volume, seen)
      : { ...(snapshots === undefined ? {} : { snapshots }), ...(problem === undefined ? {} : { problem }) }),
    ...parts,
  };
}

/** The volume as it is when a node has no older copy of it any more. */
export function withoutCopyOn(volume: VolumeRecord, nodeId: number): VolumeRecord {
  const { leftOn = [], ...rest } = volume;
  const left = leftOn.filter((node) => node !== nodeId);
  return left.length === 0 ? rest : { ...rest, leftOn: left };
}

/** Whether a node has to let an older copy go: the volume is as it is to be elsewhere, or is to go everywhere. */
export function hasOldVolume({ node, leftOn = [], came, state }: VolumeRecord, nodeId: number): boolean {
  return (
    node !== nodeId && leftOn.includes(nodeId) && (state === "deleting" || (state === "ready" && came === undefined))
  );
}

function observedParts(volume: VolumeRecord, seen: VolumeObservation): Pick<VolumeRecord, "state" | "madeGiB"> {
  const madeGiB = Math.max(volume.madeGiB, seen.sizeGiB);
  if (volume.state === "deleting") return { state: "deleting", madeGiB };
  if (seen.state === "missing") return { state: "missing", madeGiB };
  return { state: seen.sizeGiB < volume.sizeGiB ? "pending" : "ready", madeGiB };
}

/** Whether the record would change by this observation of a node. Its own one forgets it when no other has a copy. */
export function isVolumeNews(volume: VolumeRecord, seen: VolumeObservation, nodeId: number): boolean {
  if (seen.epoch !== volume.epoch) return false;
  const isDeleted = seen.state === "deleted";
  if (volume.node !== nodeId) return isDeleted && hasOldVolume(volume, nodeId);
  if (isDeleted) return volume.state === "deleting" && volume.leftOn === undefined;
  const next = observedParts(volume, seen);
  const cameNow = volume.came !== undefined && seen.state === "ready";
  return next.state !== volume.state || next.madeGiB !== volume.madeGiB || cameNow;
}

/** Why a VM cannot take its volumes along to another node at this moment; undefined when it can. */
export function volumesCarryRefusal(
  { volumes }: Pick<ClusterState, "volumes">,
  { spec }: Pick<VmRecord, "spec">,
): string | undefined {
  const copied = new Map([...volumes.values()].map(({ sourceId, name }) => [sourceId, name]));
  for (const name of volumesOf(spec)) {
    const volume = volumes.get(name);
    if (volume === undefined) return `its volume ${name} is not there`;
    const { volumeId, state, sizeGiB, came } = volume;
    const copy = copied.get(volumeId);
    if (volume.snapshots?.some((snapshot) => snapshot.state === "deleting")) {
      return `a snapshot of its volume ${name} is being deleted`;
    }
    if (state === "missing") return `its volume ${name} is missing on node ${volume.node}`;
    if (came !== undefined) return `its volume ${name} is still put in its place on node ${volume.node}`;
    if (copy !== undefined) return `the volume ${copy} is still being copied from its volume ${name}`;
    if (sizeGiB > limits.diskCopyGiBMax) {
      return `its volume ${name} has more than the ${limits.diskCopyGiBMax} GiB that are copied at most`;
    }
  }
  return snapshotRefusal({ volumes }, { spec });
}

/** The changes that give the volumes of a VM to the node that it goes to, which has copies of them as of `epoch`. */
export function carried(
  { volumes }: Pick<ClusterState, "volumes">,
  { name, vmId, node, spec }: VmRecord,
  { to, epoch }: { readonly to: number; readonly epoch: number },
  { index }: CommandEntry,
): Change[] {
  return volumesOf(spec).flatMap((volumeName): Change[] => {
    const volume = volumes.get(volumeName);
    if (volume === undefined || volume.attachedTo !== name || volume.node !== node) return [];
    return [change(carriedTo(volume, to, { vmId, epoch }, index))];
  });
}

/** Why a VM on `node`, or on none yet, cannot have its volumes; undefined when it can. */
export function attachRefusal(state: ClusterState, spec: VmSpec, node: number | null): Outcome | undefined {
  for (const name of volumesOf(spec)) {
    const volume = state.volumes.get(name);
    if (volume === undefined) return volumeNotFound(name);
    if (volume.attachedTo !== null) {
      return refuse("CONFLICT", `the VM ${volume.attachedTo} has the volume ${name}`, "A volume has one VM at a time.");
    }
    if (volume.state === "deleting") return refuse("CONFLICT", `the volume ${name} is being deleted`);
    const moving = movingRefusal(volume);
    if (moving !== undefined) return moving;
    const busy = snapshotRefusal(state, { spec });
    if (busy !== undefined) return refuse("CONFLICT", busy, "Try again.");
    if (volume.madeGiB === 0) return refuse("CONFLICT", `the volume ${name} is not made yet`, "Try again.");
    if (node !== null && volume.node !== node)
      return refuse("CONFLICT", `the volume ${name} is on node ${volume.node}`, "Try again.");
  }
  return undefined;
}

/** The changes that give a VM its volumes, or those that it has now and had not `before`. */
export function attached(state: ClusterState, vm: VmRecord, { index }: CommandEntry, before?: VmRecord): Change[] {
  const had = before === undefined ? [] : volumesOf(before.spec);
  return volumesOf(vm.spec).flatMap((name) => {
    const volume = state.volumes.get(name);
    if (volume === undefined || had.includes(name)) return [];
    return [change({ ...volume, attachedTo: vm.name, epoch: volume.epoch + 1, updatedIndex: index })];
  });
}

/** The changes that take what stands beside the record of a VM from it: all when it is forgotten, else what it has no more. */
export function released(state: ClusterState, vm: VmRecord, { index }: CommandEntry, left?: VmRecord): Change[] {
  const kept = left === undefined ? [] : volumesHeldBy(left);
  const volumes = volumesHeldBy(vm).flatMap((name): Change[] => {
    const volume = state.volumes.get(name);
    if (kept.includes(name) || volume === undefined || volume.attachedTo !== vm.name) return [];
    return [change({ ...volume, attachedTo: null, updatedIndex: index })];
  });
  return left === undefined ? [...volumes, ...secretGone(state, vm)] : volumes;
}

/** Those of its specification, and those that it is to let go of. */
function volumesHeldBy({ spec, detaching = [] }: VmRecord): string[] {
  return [...volumesOf(spec), ...detaching.map(({ volume }) => volume)];
}

function change(volume: VolumeRecord): Change {
  return { table: "volumes", key: volume.name, value: volume };
}

function removal(name: string): Change {
  return { table: "volumes", key: name, value: undefined };
}

function stored(volume: VolumeRecord): Outcome {
  return done({ volume }, [change(volume)]);
}
