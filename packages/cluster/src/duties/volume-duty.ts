/** Connects the volumes of the replicated state with the VM manager of this node, as `VmDuty` does it for VMs. */
import { firstOf } from "@blixard/common";
import type { VolumeObservation, VolumeSnapshot } from "@blixard/protocol";
import type { DesiredVolume } from "@blixard/vm-manager";
import type { CallRouter } from "../calls/call-router.ts";
import type { NodeParts } from "../node-parts.ts";
import { sortedRecords } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { hasOldVolume, isVolumeNews } from "../state-machine/volume.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";
import { report } from "./report.ts";

/** What this duty uses of the node. */
type VolumeDutyParts = Pick<NodeParts, "random" | "options" | "vmManager" | "stateMachine">;

/** Observations in one command. */
const batchMax = 500;

/** Runs until `signal` aborts. Never rejects. Nothing goes down before the state has caught up with a leader. */
export async function runVolumeDuty(
  parts: VolumeDutyParts,
  router: Pick<CallRouter, "call">,
  loop: LoopDeps,
  caughtUp: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  await caughtUp(signal).catch(() => {});
  if (signal.aborted) return;
  await Promise.all([runDesired(parts, loop, signal), runObserved(parts, router, loop, signal)]);
}

function runDesired({ stateMachine, vmManager, options }: VolumeDutyParts, loop: LoopDeps, signal: AbortSignal) {
  let seen = -1;
  return runLoop(loop, "volume-desired", signal, async () => {
    const { changed } = await stateMachine.version.until((next) => next.changed.volumes !== seen, { signal });
    seen = changed.volumes;
    vmManager.setVolumes(desiredVolumes(stateMachine.state, options.nodeId));
  });
}

function runObserved(parts: VolumeDutyParts, router: Pick<CallRouter, "call">, loop: LoopDeps, signal: AbortSignal) {
  const { stateMachine, vmManager, options } = parts;
  return runLoop(loop, "volume-observe", signal, async () => {
    const seen = vmManager.volumeObservations.value;
    const { changed } = stateMachine.version.value;
    const news = unreportedVolumes(stateMachine.state, seen, options.nodeId).slice(0, batchMax);
    if (news.length === 0) {
      await firstOf(signal, (until) => [
        vmManager.volumeObservations.until((value) => value !== seen, { signal: until }),
        stateMachine.version.until((next) => next.changed.volumes !== changed.volumes, { signal: until }),
      ]);
      return;
    }
    const request = { nodeId: options.nodeId, observations: news };
    await report(parts, router, "volume.observe", request, signal);
  });
}

/** The volumes of `nodeId`, as the manager wants to know them. */
export function desiredVolumes(state: ClusterState, nodeId: number): DesiredVolume[] {
  return sortedRecords(state, "volumes")
    .filter((volume) => volume.node === nodeId || hasOldVolume(volume, nodeId))
    .map(
      ({
        volumeId,
        epoch,
        sizeGiB,
        madeGiB,
        node,
        state: now,
        sourceId,
        importDigest,
        came,
        snapshots = [],
        restoring,
      }) => ({
        ...{ volumeId, epoch, sizeGiB, wasMade: madeGiB > 0, isDeleted: now === "deleting" || node !== nodeId },
        ...(sourceId === undefined ? {} : { sourceId }),
        ...(snapshots.length === 0 ? {} : { snapshots: snapshots.map(snapshotWish) }),
        ...(restoring === undefined ? {} : { restoring }),
        ...(importDigest === undefined ? {} : { isImported: true }),
        ...(came === undefined ? {} : { came }),
      }),
    );
}

function snapshotWish({ snapshotId, sizeGiB, state }: VolumeSnapshot) {
  return { snapshotId, sizeGiB, wasMade: state === "ready", isDeleted: state === "deleting" };
}

/** The observations of the manager that the state does not show yet. */
export function unreportedVolumes(
  state: ClusterState,
  observations: ReadonlyMap<string, VolumeObservation>,
  nodeId: number,
): VolumeObservation[] {
  return sortedRecords(state, "volumes").flatMap((volume) => {
    const seen = observations.get(volume.volumeId);
    return seen !== undefined && isVolumeNews(volume, seen, nodeId) ? [seen] : [];
  });
}
