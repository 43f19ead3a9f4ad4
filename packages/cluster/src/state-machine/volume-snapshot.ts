/**
 * Snapshots of volumes: copies of a volume beside it, which its node makes, or the process of the VM that runs with it. One thing
 * at a time is done with them; until it is done, no VM starts with the volume.
 */
import {
  type CommandBodyOf,
  limits,
  type VmRecord,
  type VolumeObservation,
  type VolumeRecord,
  type VolumeSnapshot,
  volumesOf,
} from "@blixard/protocol";
import { done, refuse, volumeNotFound } from "./outcomes.ts";
import { preconditionFailed } from "./precondition.ts";
import type { ClusterState, CommandEntry, Outcome } from "./types.ts";
import { hasEnded } from "./vm-phase.ts";
import { movingRefusal } from "./volume-move.ts";

export function applySnapshot(
  state: ClusterState,
  body: CommandBodyOf<"volume.snapshot">,
  entry: CommandEntry,
): Outcome {
  const { name, snapshot, verb, snapshotId } = body;
  const volume = state.volumes.get(name);
  if (volume === undefined) return volumeNotFound(name);
  const failed =
    preconditionFailed(entry.command, `volume ${name}`, volume.updatedIndex) ?? busyRefusal(state, volume, verb);
  if (failed !== undefined) return failed;
  const { snapshots = [], problem: _, ...rest } = volume;
  const present = snapshots.find((candidate) => candidate.name === snapshot);
  const changed = (change: Partial<VolumeRecord>) => {
    const value: VolumeRecord = {
      ...rest,
      snapshots,
      ...change,
      epoch: volume.epoch + 1,
      state: "pending",
      updatedIndex: entry.index,
    };
    return done({ volume: value }, [{ table: "volumes", key: name, value }]);
  };
  if (verb === "create") {
    if (present !== undefined || snapshotId === undefined) {
      return refuse("ALREADY_EXISTS", `the volume ${name} has a snapshot ${snapshot} already`, "Choose another name.");
    }
    if (snapshots.length >= limits.volumeSnapshotsMax) {
      const hint = `Delete one first: blixard volume snapshot delete ${name} SNAPSHOT`;
      return refuse("CONFLICT", `the volume ${name} has ${snapshots.length} snapshots, and no more`, hint);
    }
    const { sizeGiB } = volume;
    const made = {
      name: snapshot,
      snapshotId,
      sizeGiB,
      state: "pending",
      createdUnixMs: entry.command.atUnixMs,
    } as const;
    return changed({ snapshots: [...snapshots, made] });
  }
  if (present === undefined) {
    const hint = `List them with: blixard volume snapshot list ${name}`;
    return refuse("NOT_FOUND", `the volume ${name} has no snapshot ${snapshot}`, hint);
  }
  if (verb === "restore") return changed({ restoring: present.snapshotId });
  return changed({ snapshots: snapshots.map((each) => (each === present ? { ...each, state: "deleting" } : each)) });
}

/** Why nothing can be done with the snapshots of a volume at this moment; undefined when it can. */
function busyRefusal(
  state: ClusterState,
  volume: VolumeRecord,
  verb: CommandBodyOf<"volume.snapshot">["verb"],
): Outcome | undefined {
  const { name, attachedTo } = volume;
  if (isSnapshotBusy(volume))
    return refuse("CONFLICT", `a snapshot of the volume ${name} is being worked on`, "Try again.");
  const moving = movingRefusal(volume);
  if (moving !== undefined) return moving;
  if (volume.state !== "ready") return refuse("CONFLICT", `the volume ${name} is ${volume.state}`);
  if (volume.came !== undefined)
    return refuse("CONFLICT", `the volume ${name} is still put in its place`, "Try again.");
  const copy = [...state.volumes.values()].find(({ sourceId }) => sourceId === volume.volumeId);
  if (copy !== undefined && verb === "restore") {
    return refuse("CONFLICT", `the volume ${copy.name} is still being copied from ${name}`, "Try again.");
  }
  const vm = attachedTo === null ? undefined : state.vms.get(attachedTo);
  if (vm?.held !== undefined) {
    return refuse("CONFLICT", `the operation ${vm.held.operation} holds the VM ${vm.name}`, "Try again later.");
  }
  // The process of a VM that runs makes the copy.
  if (verb !== "restore" || vm === undefined || (vm.desired === "stopped" && hasEnded(vm))) return undefined;
  const hint = `Stop the VM, or detach the volume: blixard vm stop ${vm.name}; blixard volume detach ${name}`;
  return refuse("CONFLICT", `the VM ${vm.name} is to run with the volume ${name}, and changes it`, hint);
}

function isSnapshotBusy({ snapshots = [], restoring }: VolumeRecord): boolean {
  return restoring !== undefined || snapshots.some(({ state }) => state !== "ready");
}

/** Why a VM cannot start with its volumes, or leave its node with them, at this moment; undefined when it can. */
export function snapshotRefusal(
  { volumes }: Pick<ClusterState, "volumes">,
  { spec }: Pick<VmRecord, "spec">,
): string | undefined {
  for (const name of volumesOf(spec)) {
    const volume = volumes.get(name);
    if (volume?.restoring !== undefined) return `its volume ${name} is being restored`;
    const made = volume?.snapshots?.find(({ state }) => state === "pending");
    if (made !== undefined) return `the snapshot ${made.name} of its volume ${name} is being made`;
  }
  return undefined;
}

/** The snapshots as they are when the node has done what was wanted of them, or could not do it. */
export function settledSnapshots(
  { snapshots = [] }: Pick<VolumeRecord, "snapshots">,
  { problem, shows }: Pick<VolumeObservation, "problem" | "shows">,
): Pick<VolumeRecord, "snapshots" | "problem"> {
  const left = snapshots
    .filter(({ state }) => state === "ready" || (state === "pending" && problem === undefined))
    .map((each): VolumeSnapshot => {
      const told = each.state === "ready" || shows === undefined ? {} : { shows };
      return { ...each, ...told, state: "ready" };
    });
  return { ...(left.length === 0 ? {} : { snapshots: left }), ...(problem === undefined ? {} : { problem }) };
}
