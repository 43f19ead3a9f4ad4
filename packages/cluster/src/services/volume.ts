/** The volume methods. The leader chooses the node of a volume; `apply` checks that no VM has it before it goes. */
import { notApplied } from "@blixard/common";
import { driverRefusal, type ParsedRequestOf, type VolumeRecord } from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import { assertSpeaksFor } from "../calls/identify.ts";
import { randomUuid } from "../ids.ts";
import type { NodeParts } from "../node-parts.ts";
import { isReachable } from "../peers/reachability.ts";
import { diskRefusal } from "../scheduler/room.ts";
import { noUsage, usageByNode } from "../scheduler/usage.ts";
import { isRemembered } from "../state-machine/apply-command.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import { pageOf } from "./page.ts";
import { schedulerOptions } from "./place-vm.ts";

/** What these methods use of the node. */
type VolumeParts = Pick<NodeParts, "random" | "options" | "raft" | "transport" | "stateMachine" | "proposals">;

const mebibytesPerGib = 1024;

type VolumeMethods =
  | "volume.list"
  | "volume.get"
  | "volume.create"
  | "volume.resize"
  | "volume.createSnapshot"
  | "volume.restoreSnapshot"
  | "volume.deleteSnapshot"
  | "volume.delete"
  | "volume.observe";

interface VolumeValue {
  readonly volume: VolumeRecord;
}

export function volumeHandlers(parts: VolumeParts): Pick<Handlers, VolumeMethods> {
  const written = async (body: Parameters<NodeParts["proposals"]["propose"]>[0], call: CallScope) => {
    const { index, term, value } = await parts.proposals.propose<VolumeValue>(body, call);
    return { index, term, volume: value.volume };
  };
  return {
    "volume.list": async (asked) => {
      const { state, version } = parts.stateMachine;
      return pageOf(state.volumes.values(), asked, { keyOf: ({ name }) => name, index: version.value.appliedIndex });
    },
    "volume.get": async ({ name }) => volumeOf(parts, name),
    "volume.create": async (request, call) => {
      const { name, sizeGiB, kind, source, importDigest } = request;
      const node = parts.stateMachine.state.volumes.get(name)?.node ?? nodeFor(parts, request);
      const volumeId = randomUuid(parts.random);
      const copied = source === undefined ? {} : { source };
      const imported = importDigest === undefined ? {} : { importDigest };
      return await written(
        { type: "volume.create", name, volumeId, sizeGiB, kind, node, ...copied, ...imported },
        call,
      );
    },
    "volume.resize": async ({ name, sizeGiB }, call) => {
      const volume = parts.stateMachine.state.volumes.get(name);
      const moreMiB = Math.max(0, sizeGiB - (volume?.sizeGiB ?? sizeGiB)) * mebibytesPerGib;
      const refusal = volume === undefined ? undefined : noRoom(parts, volume.node, moreMiB);
      if (refusal !== undefined && !isRemembered(parts.stateMachine.state, call.meta)) {
        throw notApplied("NO_CAPACITY", `node ${volume?.node}: ${refusal}`, { hint: roomHint });
      }
      return await written({ type: "volume.resize", name, sizeGiB }, call);
    },
    "volume.createSnapshot": async ({ name, snapshot }, call) => {
      assertRoomFor(parts, name, call);
      const snapshotId = randomUuid(parts.random);
      return await written({ type: "volume.snapshot", name, snapshot, verb: "create", snapshotId }, call);
    },
    "volume.restoreSnapshot": async ({ name, snapshot }, call) => {
      // What it has now stays until the snapshot was copied.
      assertRoomFor(parts, name, call);
      return await written({ type: "volume.snapshot", name, snapshot, verb: "restore" }, call);
    },
    "volume.deleteSnapshot": async ({ name, snapshot }, call) => {
      knownVolume(parts, name, call);
      return await written({ type: "volume.snapshot", name, snapshot, verb: "delete" }, call);
    },
    "volume.delete": ({ name }, call) => written({ type: "volume.delete", name }, call),
    "volume.observe": async (request, call) => {
      assertSpeaksFor(call, request.nodeId);
      const { index, term } = await parts.proposals.propose({ type: "volume.observe", ...request }, call);
      return { index, term };
    },
  };
}

export function volumeOf(parts: Pick<NodeParts, "stateMachine">, name: string): VolumeRecord {
  const volume = parts.stateMachine.state.volumes.get(name);
  if (volume !== undefined) return volume;
  throw notApplied("VOLUME_NOT_FOUND", `there is no volume ${name}`, {
    hint: "List the volumes with: blixard volume list",
  });
}

/** The one that was asked for, or the one with the fewest volumes of those that can have one. @throws NO_CAPACITY */
function nodeFor(parts: VolumeParts, request: ParsedRequestOf<"volume.create">): number {
  const { sizeGiB, source } = request;
  const { state } = parts.stateMachine;
  // A copy is where its source is.
  const wanted = request.node ?? (source === undefined ? undefined : volumeOf(parts, source).node);
  const counts = new Map<number, number>();
  for (const { node } of state.volumes.values()) counts.set(node, (counts.get(node) ?? 0) + 1);
  const refusals: string[] = [];
  const fitting: number[] = [];
  for (const record of sortedRecords(state, "nodes")) {
    if (wanted !== undefined && record.id !== wanted) continue;
    const refusal =
      refusalOf(record, isReachable(parts, record.id)) ??
      (wanted === undefined ? noDriver(record) : undefined) ??
      noRoom(parts, record.id, sizeGiB * mebibytesPerGib);
    if (refusal === undefined) fitting.push(record.id);
    else refusals.push(`node ${record.id}: ${refusal}`);
  }
  const [best] = fitting.sort((a, b) => (counts.get(a) ?? 0) - (counts.get(b) ?? 0) || a - b);
  if (best !== undefined) return best;
  if (wanted !== undefined && refusals.length === 0) throw notApplied("NODE_NOT_FOUND", `there is no node ${wanted}`);
  throw notApplied("NO_CAPACITY", `no node can have the volume: ${refusals.join("; ")}`, {
    hint: `A volume needs a voter or worker, and a VM with it the driver QEMU there. ${roomHint}`,
  });
}

export const roomHint =
  "Free some room there, or promise more than there is: blixard cluster scheduling --disk-overcommit N.";

/** The volume of a request that was not applied before. @throws VOLUME_NOT_FOUND */
function knownVolume(parts: VolumeParts, name: string, call: CallScope): VolumeRecord | undefined {
  return isRemembered(parts.stateMachine.state, call.meta) ? undefined : volumeOf(parts, name);
}

/** Room for one more of its size. @throws NO_CAPACITY */
function assertRoomFor(parts: VolumeParts, name: string, call: CallScope): void {
  const volume = knownVolume(parts, name, call);
  const refusal = volume === undefined ? undefined : noRoom(parts, volume.node, volume.sizeGiB * mebibytesPerGib);
  if (refusal !== undefined) throw notApplied("NO_CAPACITY", `node ${volume?.node}: ${refusal}`, { hint: roomHint });
}

export function noRoom(parts: VolumeParts, nodeId: number, needMiB: number): string | undefined {
  const { state } = parts.stateMachine;
  const node = state.nodes.get(nodeKey(nodeId));
  const options = schedulerOptions(parts);
  const used = usageByNode(state, [], options).get(nodeId) ?? noUsage;
  return node === undefined ? undefined : diskRefusal(node.capacity, used, needMiB, options);
}

type Candidate = ReturnType<typeof sortedRecords<"nodes">>[number];

export function refusalOf({ role, leaving, cordoned }: Candidate, reachable: boolean): string | undefined {
  if (role !== "voter" && role !== "worker") return `a ${role} runs no VMs`;
  if (leaving) return "it is leaving the cluster";
  if (cordoned) return "it is cordoned";
  return reachable ? undefined : "it does not answer";
}

/** Who names a node may give it a driver later. */
function noDriver({ capacity }: Candidate): string | undefined {
  const demand = { spec: { vcpus: 1, memoryMiB: 1, disks: [] }, image: { format: "disk" } } as const;
  const refusals = (capacity.capabilities ?? []).map((driver) => driverRefusal(driver.kind, driver, demand));
  return refusals.includes(undefined) ? undefined : (refusals[0] ?? "it has no VM driver");
}
