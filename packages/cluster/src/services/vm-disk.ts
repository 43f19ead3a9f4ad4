/** The methods that change the disks of a VM. What its driver cannot do is refused before anything changes. */
import { notApplied } from "@blixard/common";
import {
  type CommandBodyOf,
  type DriverCapabilities,
  type DriverKind,
  diskMiBOf,
  driverRefusal,
  type NodeRecord,
  type VmDisk,
  type VmRecord,
  type VmSpec,
} from "@blixard/protocol";
import type { CallScope, Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { isRemembered } from "../state-machine/apply-command.ts";
import { nodeKey } from "../state-machine/state.ts";
import { hasEnded } from "../state-machine/vm-move.ts";
import { imageFor, vmOf } from "./vm.ts";
import { noRoom, roomHint, volumeOf } from "./volume.ts";

type VmDiskMethods = "vm.attachDisk" | "vm.detachDisk" | "vm.changeDisk";

export function vmDiskHandlers(parts: NodeParts): Pick<Handlers, VmDiskMethods> {
  const change = async (body: CommandBodyOf<"vm.disk">, call: CallScope) => {
    // What stands now says nothing about a request that was applied before: `apply` answers that.
    if (!isRemembered(parts.stateMachine.state, call.meta)) assertCan(parts, body);
    const { index, term, value } = await parts.proposals.propose<{ vm: VmRecord }>(body, call);
    return { index, term, vm: value.vm };
  };
  return {
    "vm.attachDisk": ({ name, ...disk }, call) =>
      change({ type: "vm.disk", name, change: { kind: "attach", ...disk } }, call),
    "vm.detachDisk": ({ name, ...disk }, call) =>
      change({ type: "vm.disk", name, change: { kind: "detach", ...disk } }, call),
    "vm.changeDisk": ({ name, ...disk }, call) =>
      change({ type: "vm.disk", name, change: { kind: "change", ...disk } }, call),
  };
}

/** @throws VM_NOT_FOUND, VOLUME_NOT_FOUND, CONFLICT with the name of what a driver cannot do, NO_CAPACITY */
function assertCan(parts: NodeParts, { name, change }: CommandBodyOf<"vm.disk">): void {
  const vm = vmOf(parts, name);
  const node = vm.node === null ? undefined : parts.stateMachine.state.nodes.get(nodeKey(vm.node));
  switch (change.kind) {
    case "attach": {
      volumeOf(parts, change.volume);
      const { disks = [] } = vm.spec;
      const added: VmDisk = { name: change.disk, volume: change.volume };
      assertDriver(parts, vm, node, { ...vm.spec, disks: [...disks, added] });
      assertHotplug(parts, vm, node);
      break;
    }
    case "detach":
      assertHotplug(parts, vm, node);
      break;
    case "change": {
      const image = imageFor(parts, vm.spec);
      const { disks = [] } = vm.spec;
      const { sizeGiB } = change;
      const before = disks.find((disk) => disk.name === change.disk) ?? { name: change.disk };
      const changed: VmDisk = sizeGiB === undefined ? before : { ...before, sizeGiB };
      const spec: VmSpec = { ...vm.spec, disks: [...disks.filter((disk) => disk.name !== change.disk), changed] };
      assertDriver(parts, vm, node, spec);
      const moreMiB = Math.max(0, diskMiBOf(spec, image) - diskMiBOf(vm.spec, image));
      const refusal = node === undefined ? undefined : noRoom(parts, node.id, moreMiB);
      if (refusal !== undefined) throw notApplied("NO_CAPACITY", `node ${node?.id}: ${refusal}`, { hint: roomHint });
      break;
    }
    default:
      change satisfies never;
  }
}

type Driver = DriverCapabilities & { readonly kind: DriverKind };

/** That of a VM that runs, else all of its node. */
function driversOf({ driver }: VmRecord, node: NodeRecord | undefined): readonly Driver[] {
  const all = node?.capacity.capabilities ?? [];
  const own = all.filter(({ kind }) => kind === driver);
  return own.length > 0 ? own : all;
}

/** @throws CONFLICT */
function assertDriver(parts: NodeParts, vm: VmRecord, node: NodeRecord | undefined, spec: VmSpec): void {
  if (node === undefined) return;
  const image = imageFor(parts, vm.spec);
  const refusals = driversOf(vm, node).map((driver) =>
    driverRefusal(driver.kind, driver, { spec, image, cards: vm.cards }),
  );
  if (refusals.includes(undefined)) return;
  throw notApplied("CONFLICT", `node ${node.id}: ${refusals[0] ?? "it has no VM driver"}`);
}

/** @throws CONFLICT for a VM that may run, and cannot get or lose a disk while it does */
function assertHotplug(parts: NodeParts, vm: VmRecord, node: NodeRecord | undefined): void {
  if (node === undefined || hasEnded(vm)) return;
  const hint = `Stop it first: blixard vm stop ${vm.name}`;
  const drivers = driversOf(vm, node);
  if (!drivers.some(({ diskHotplug }) => diskHotplug === true)) {
    const driver = drivers[0]?.kind ?? "of its node";
    throw notApplied("CONFLICT", `driver ${driver} lacks diskHotplug: VMs get and lose no disks while they run`, {
      hint,
    });
  }
  const image = imageFor(parts, vm.spec);
  if (image.format === "multiboot") {
    const message = `the image ${image.name} is multiboot, for which driver ${drivers[0]?.kind} lacks diskHotplug`;
    throw notApplied("CONFLICT", message, { hint });
  }
}
