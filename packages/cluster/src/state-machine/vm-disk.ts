/**
 * Changes of the disks of a VM. A volume that it is to let go of stays its own until its node has said that the guest has it no
 * more, as of the entry that took it away: what was on its way before says nothing about it.
 */
import {
  type CommandBodyOf,
  diskMiBOf,
  disksOf,
  limits,
  type VmDisk,
  type VmRecord,
  type VmSpec,
} from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { preconditionFailed } from "./precondition.ts";
import { diskQuotaRefusal } from "./quota.ts";
import type { ClusterState, CommandEntry, Outcome } from "./types.ts";
import { hasEnded, newPolicy } from "./vm-move.ts";
import { attached, attachRefusal, released } from "./volume.ts";

type DiskChange = CommandBodyOf<"vm.disk">["change"];
type ChangeOf<Kind extends DiskChange["kind"]> = Extract<DiskChange, { kind: Kind }>;

export function applyDisk(state: ClusterState, body: CommandBodyOf<"vm.disk">, entry: CommandEntry): Outcome {
  const vm = state.vms.get(body.name);
  if (vm === undefined) {
    return refuse("VM_NOT_FOUND", `there is no VM ${body.name}`, "List the VMs with: blixard vm list");
  }
  const failed = preconditionFailed(entry.command, `VM ${body.name}`, vm.updatedIndex);
  if (failed !== undefined) return failed;
  if (vm.desired === "deleted") return refuse("CONFLICT", `the VM ${body.name} is being deleted`);
  if (vm.held !== undefined) {
    return refuse("CONFLICT", `the operation ${vm.held.operation} has stopped the VM ${body.name}`, "Try again later.");
  }
  const { change } = body;
  switch (change.kind) {
    case "attach":
      return attach(state, vm, change, entry);
    case "detach":
      return detach(state, vm, change, entry);
    case "change":
      return changeDisk(state, vm, change, entry);
    default:
      return change satisfies never;
  }
}

function attach(state: ClusterState, vm: VmRecord, change: ChangeOf<"attach">, entry: CommandEntry): Outcome {
  const { disk: name, volume } = change;
  const { disks = [] } = vm.spec;
  const [leaving] = vm.detaching ?? [];
  if (leaving !== undefined) {
    const hint = "It does when its guest lets go of the disk, or when it stops. Try again.";
    return refuse("CONFLICT", `the VM ${vm.name} still has to let go of the volume ${leaving.volume}`, hint);
  }
  if (vm.node === null && vm.phase === "Unknown") {
    return refuse("CONFLICT", `nobody knows whether the VM ${vm.name} still runs somewhere`);
  }
  const image = state.images.get(vm.spec.image);
  const all = image === undefined ? disks : disksOf(vm.spec, image);
  if ([...all, ...(vm.spec.cdroms ?? [])].some((other) => other.name === name)) {
    return refuse("CONFLICT", `the VM ${vm.name} has a disk ${name} already`, "Choose another one with --name.");
  }
  if (disks.length >= limits.vmDisksMax) {
    return refuse("CONFLICT", `the VM ${vm.name} has ${limits.vmDisksMax} disks already`);
  }
  if (vm.spec.onNodeLoss === "move") {
    const hint = "Such a VM was made with --on-node-loss move. Without it, it waits for its node.";
    return refuse("CONFLICT", `the VM ${vm.name} moves when its node is lost, and a volume stays on its node`, hint);
  }
  const added: VmDisk = { name, volume };
  const refused = attachRefusal(state, { ...vm.spec, disks: [added] }, vm.node);
  if (refused !== undefined) return refused;
  const spec: VmSpec = { ...vm.spec, disks: [...disks, added] };
  return stored(state, vm, { ...vm, spec, ...newPolicy(state, spec) }, entry);
}

function detach(state: ClusterState, vm: VmRecord, change: ChangeOf<"detach">, entry: CommandEntry): Outcome {
  const { disks = [] } = vm.spec;
  const disk = disks.find(({ name }) => name === change.disk);
  if (disk === undefined) {
    // Asked for again.
    if (vm.detaching?.some((leaving) => leaving.disk === change.disk)) return done({ vm });
    return refuse("CONFLICT", `the VM ${vm.name} has no disk ${change.disk} that can be detached`);
  }
  const { volume } = disk;
  if (volume === undefined) {
    return refuse("CONFLICT", `the disk ${disk.name} is no volume: it belongs to the VM ${vm.name}, and goes with it`);
  }
  if (vm.spec.bootOrder?.includes(disk.name) === true) {
    const hint = `Take it out of that first: blixard vm set ${vm.name} --unset bootOrder`;
    return refuse("CONFLICT", `the VM ${vm.name} looks at the disk ${disk.name} when it boots`, hint);
  }
  const left = disks.filter(({ name }) => name !== disk.name);
  const { disks: _, ...without } = vm.spec;
  const spec: VmSpec = left.length === 0 ? without : { ...vm.spec, disks: left };
  // One that may run is not made to move by this: nothing guards it where it is.
  if (isOver(vm)) return stored(state, vm, { ...vm, spec, ...newPolicy(state, spec) }, entry);
  const detaching = [...(vm.detaching ?? []), { disk: disk.name, volume }];
  return stored(state, vm, { ...vm, spec, detaching }, entry);
}

function changeDisk(state: ClusterState, vm: VmRecord, change: ChangeOf<"change">, entry: CommandEntry): Outcome {
  const { disk: name } = change;
  const image = state.images.get(vm.spec.image);
  const disk = image === undefined ? undefined : disksOf(vm.spec, image).find((other) => other.name === name);
  if (image === undefined || disk === undefined) {
    return refuse("CONFLICT", `the VM ${vm.name} has no disk ${name}`, `See: blixard vm get ${vm.name}`);
  }
  const refused = sizeRefusal(vm, disk, change.sizeGiB);
  if (refused !== undefined) return refused;
  const after = changedDisk(disk, change);
  const same = (["sizeGiB", "iops", "bytesPerSecond"] as const).every((field) => after[field] === disk[field]);
  if (same) return done({ vm });
  const { disks = [] } = vm.spec;
  const isNamed = disks.some((other) => other.name === name);
  const all = isNamed ? disks.map((other) => (other.name === name ? after : other)) : [after, ...disks];
  const spec: VmSpec = { ...vm.spec, disks: all };
  const moreMiB = diskMiBOf(spec, image) - diskMiBOf(vm.spec, image);
  return diskQuotaRefusal(state, vm.labels, moreMiB) ?? stored(state, vm, { ...vm, spec }, entry);
}

/** Without a limit that is null. */
function changedDisk(disk: VmDisk, { sizeGiB, iops, bytesPerSecond }: ChangeOf<"change">): VmDisk {
  const { iops: iopsBefore = null, bytesPerSecond: rateBefore = null, ...rest } = disk;
  const iopsAfter = iops === undefined ? iopsBefore : iops;
  const rateAfter = bytesPerSecond === undefined ? rateBefore : bytesPerSecond;
  return {
    ...rest,
    ...(sizeGiB === undefined ? {} : { sizeGiB }),
    ...(iopsAfter === null ? {} : { iops: iopsAfter }),
    ...(rateAfter === null ? {} : { bytesPerSecond: rateAfter }),
  };
}

function sizeRefusal(vm: VmRecord, disk: VmDisk, sizeGiB: number | undefined): Outcome | undefined {
  if (sizeGiB === undefined) return undefined;
  const { name, volume } = disk;
  if (volume !== undefined) {
    const hint = `Make the volume larger: blixard volume resize ${volume} --size ${sizeGiB}G`;
    return refuse("CONFLICT", `the disk ${name} is the volume ${volume}`, hint);
  }
  const seenBytes = vm.guestDisks?.disks.find((seen) => seen.name === name)?.sizeBytes ?? 0;
  const nowGiB = disk.sizeGiB ?? seenBytes / gibibyte;
  if (sizeGiB >= nowGiB) return undefined;
  const hint = "What is on it would be cut off. Make another one, and copy what you need.";
  return refuse("CONFLICT", `the disk ${name} has ${nowGiB} GiB, and becomes no smaller`, hint);
}

const gibibyte = 1024 ** 3;

/** Nothing runs of the VM, and nothing will in its present epoch. */
function isOver(vm: VmRecord): boolean {
  return hasEnded(vm) || (vm.node === null && vm.phase === "Pending");
}

function stored(state: ClusterState, before: VmRecord, after: VmRecord, entry: CommandEntry): Outcome {
  const { index } = entry;
  const vm: VmRecord = {
    ...after,
    disksIndex: index,
    updatedUnixMs: entry.command.atUnixMs,
    updatedIndex: index,
  };
  const volumes = [...attached(state, vm, entry, before), ...released(state, before, entry, vm)];
  return done({ vm }, [{ table: "vms", key: vm.name, value: vm }, ...volumes]);
}

/** The VM as of what its node said of it now, without the volumes that its guest has let go of. */
export function letGo(vm: VmRecord): VmRecord {
  if (vm.detaching === undefined) return vm;
  const { detaching, ...freed } = vm;
  const { guestDisks, disksIndex = 0 } = vm;
  const names = guestDisks?.disks.map(({ name }) => name) ?? [];
  const isTold = guestDisks !== undefined && guestDisks.index >= disksIndex;
  const left = hasEnded(vm) ? [] : detaching.filter(({ disk }) => !isTold || names.includes(disk));
  return left.length === 0 ? freed : { ...freed, detaching: left };
}
