/**
 * The command line of QEMU for one instance. It is an argument array, never a shell line, and no value reaches an
 * option list unescaped: a comma in `-name` would add options, and a file name such as `fat:/etc` would open a
 * directory of the host. So disks are JSON `-blockdev` with `driver=file` and an explicit format. Files are named as they
 * are seen from the directory of the instance, and sockets by their descriptors: QEMU may have a user who reaches no path.
 */
import { basename } from "node:path";
import { assert, BlixardError } from "@blixard/common";
import { limits } from "@blixard/protocol";
import type { AttachedCdrom, AttachedDisk, InstanceSpec, Tap } from "../driver.ts";
import { netdevIdOf, nicDeviceArguments, nicSlotId, tapNameOf } from "../network/nic.ts";
import { diskNodePrefix } from "../process/event-journal.ts";
import { journalArgument } from "../process/find-processes.ts";
import { controlDescriptor, firstNicDescriptor, serialDescriptor } from "../process/instance-socket.ts";

const nameAllowed = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
const uuidAllowed = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const diskNameAllowed = /^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$/;
const machineAllowed = /^[a-z0-9.-]+$/;
/** Cache of translated code. QEMU's default takes a quarter of the guest's memory, much more than small guests use. */
const tcgBufferMiB = 32;

/** @throws INVALID_ARGUMENT for a name, uuid or machine outside the allow-lists. */
export function qemuArguments(spec: InstanceSpec, machine: string): string[] {
  const { paths } = spec;
  if (!nameAllowed.test(spec.name) || !uuidAllowed.test(spec.vmId) || !machineAllowed.test(machine)) {
    throw new BlixardError("INVALID_ARGUMENT", "the name, id or machine of the VM has characters that are not allowed");
  }
  assert(paths.journalIn.endsWith(".in") && paths.journalOut.endsWith(".out"), "a journal is a pair of files");
  return [
    ...["-name", `guest=${spec.name},process=blixard-${spec.name}-${spec.fencingEpoch}`],
    ...["-uuid", spec.vmId],
    ...["-fw_cfg", `name=opt/blixard/fencing-epoch,string=${spec.fencingEpoch}`],
    ...["-M", machine],
    ...["-accel", spec.driver === "qemu-kvm" ? "kvm" : `tcg,tb-size=${tcgBufferMiB}`],
    ...(spec.driver === "qemu-kvm" ? ["-cpu", "host"] : []),
    ...sizeArguments(spec),
    ...["-nodefaults", "-no-user-config", "-display", "none"],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    // The guest's end leaves QEMU as a tombstone, so that the manager reads the reason before it clears it away.
    ...["-action", "reboot=shutdown,shutdown=pause,panic=pause", "-device", "pvpanic"],
    ...["-chardev", `socket,id=control,fd=${controlDescriptor},server=on,wait=off`],
    ...["-mon", "chardev=control,mode=control"],
    ...["-chardev", journalArgument(basename(paths.journalIn, ".in"))],
    ...["-mon", "chardev=journal,mode=control"],
    ...["-chardev", serialOption(spec), "-device", "isa-serial,chardev=serial0"],
    ...bootArguments(spec),
    ...diskArguments(spec),
    ...nicArguments(spec),
    ...seedArguments(spec),
    ...agentArguments(spec),
    ...(hasHotplug(spec) ? hotplugArguments(spec) : []),
    ...cdromArguments(spec),
  ];
}

/** The device out of which memory comes, and into which it goes. */
export const memoryDeviceId = "memory1";
/** Far from those that get their places one after the other. */
const memoryDeviceAddress = "0x1d";
/** Linux uses only whole ones of the room for more memory. */
const memoryBlockMiB = 128;

/** Places for processors that come, and memory that is there for the guest only when it is asked to take it. */
function sizeArguments({ vm, hotplug = {} }: InstanceSpec): string[] {
  const { vcpus, memoryMiB } = hotplug;
  const smp = vcpus === undefined ? `${vm.vcpus}` : `${vm.vcpus},maxcpus=${vcpus.max}`;
  if (memoryMiB === undefined || memoryMiB.max <= vm.memoryMiB) return ["-m", `${vm.memoryMiB}M`, "-smp", smp];
  const roomMiB = Math.ceil((memoryMiB.max - vm.memoryMiB) / memoryBlockMiB) * memoryBlockMiB;
  const backend = `memory-backend-ram,id=${memoryDeviceId}-ram,size=${roomMiB}M,reserve=off`;
  const device = `virtio-mem-pci,id=${memoryDeviceId},memdev=${memoryDeviceId}-ram,block-size=${limits.vmMemoryStepMiB}M`;
  return [
    ...["-m", `size=${vm.memoryMiB}M,maxmem=${vm.memoryMiB + roomMiB}M`, "-smp", smp, "-object", backend],
    ...["-device", `${device},requested-size=0,bus=pcie.0,addr=${memoryDeviceAddress}`],
  ];
}

/** Places into which a network card goes, and out of which it comes, while the VM runs. */
const nicSlots = { address: "0x1c", firstChassis: limits.vmHotplugDisksMax + 1 };

/**
 * Behind the disks, whose places on the bus stay what they were. Each socket has what carries its frames from the start on: a
 * process that runs can be given no socket.
 */
function nicArguments(spec: InstanceSpec): string[] {
  const { nics = [], paths } = spec;
  const ports = paths.networkSockets.map((_, slot) => {
    const [id, descriptor] = [netdevIdOf(slot), firstNicDescriptor + slot];
    return nics[slot]?.bridge === undefined
      ? `stream,id=${id},server=on,addr.type=fd,addr.str=${descriptor}`
      : `tap,id=${id},fd=${descriptor}`;
  });
  const slots = ports.map((_, slot) => nicSlotId(slot, nics[slot]?.bridge));
  return [
    ...(hasHotplug(spec) ? slotArguments(nicSlots, slots) : []),
    ...ports.flatMap((port) => ["-netdev", port]),
    ...nics.flatMap((nic, slot) => nicDeviceArguments(nic, slot, hasHotplug(spec) ? slots[slot] : undefined)),
  ];
}

/** What its process is given for the cards that are plugged in bridges. */
export function tapsOf({ vmId, nics = [] }: Pick<InstanceSpec, "vmId" | "nics">): Tap[] {
  return nics.flatMap(({ bridge, mac }, slot) =>
    bridge === undefined ? [] : [{ descriptor: firstNicDescriptor + slot, name: tapNameOf(vmId, slot), bridge, mac }],
  );
}

/** Behind all others, so that their places on the bus do not depend on it. */
function seedArguments({ seedPath }: InstanceSpec): string[] {
  if (seedPath === undefined) return [];
  const file = { driver: "file", filename: seedPath, "read-only": true };
  const blockdev = JSON.stringify({ driver: "raw", "node-name": "seed", "read-only": true, file });
  return ["-blockdev", blockdev, "-device", "virtio-blk-pci,drive=seed,serial=cloud-init-seed"];
}

/** The name of the channel by which qemu-guest-agent knows it. */
const agentChannel = "org.qemu.guest_agent.0";

function agentArguments({ agent = false, paths }: InstanceSpec): string[] {
  if (!agent) return [];
  return [
    ...["-chardev", `socket,id=agent0,fd=${firstNicDescriptor + paths.networkSockets.length},server=on,wait=off`],
    ...["-device", "virtio-serial-pci", "-device", `virtserialport,chardev=agent0,name=${agentChannel}`],
  ];
}

/** QEMU writes the log by itself, so that no output is lost while no manager is connected. */
function serialOption(spec: InstanceSpec): string {
  const socket = `socket,id=serial0,fd=${serialDescriptor},server=on,wait=off`;
  return `${socket},logfile=${basename(spec.paths.consoleLog)},logappend=on`;
}

function bootArguments({ boot }: InstanceSpec): string[] {
  switch (boot.type) {
    case "multiboot":
      return ["-kernel", boot.kernelPath, ...appendArguments(boot.commandLine)];
    case "linux":
      return [
        ...["-kernel", boot.kernelPath],
        ...(boot.initrdPath === undefined ? [] : ["-initrd", boot.initrdPath]),
        ...appendArguments(boot.commandLine),
      ];
    case "disk":
      return [];
    default:
      boot satisfies never;
      return [];
  }
}

function appendArguments(commandLine: string): string[] {
  return commandLine === "" ? [] : ["-append", commandLine];
}

/** A guest whose disk fails stands still, and goes on when the disk works again: no write is lost, none is told to fail. */
const onError = "werror=stop,rerror=stop";

function diskArguments(spec: InstanceSpec): string[] {
  const inSlots = disksInSlots(spec);
  return spec.disks.flatMap((disk) => {
    if (inSlots.includes(disk)) return [];
    const place = Object.entries(bootPlaceOf(spec, disk.name)).map(([key, value]) => `,${key}=${value}`);
    return [
      ...["-blockdev", JSON.stringify(diskBlockdev(disk))],
      ...["-device", `virtio-blk-pci,drive=${diskNodeName(disk.name)},serial=${disk.name},${onError}${place.join("")}`],
    ];
  });
}

/** When the firmware looks at a disk or drive; nothing for one that it does not look at. */
function bootPlaceOf({ boot, disks, bootOrder }: InstanceSpec, name: string): { readonly bootindex?: number } {
  if (boot.type !== "disk") return {};
  const order = bootOrder ?? disks.slice(0, 1).map((disk) => disk.name);
  const bootindex = order.indexOf(name);
  return bootindex < 0 ? {} : { bootindex };
}

/** A guest that boots without firmware knows of no slots. */
function hasHotplug({ boot }: InstanceSpec): boolean {
  return boot.type !== "multiboot";
}

function disksInSlots(spec: InstanceSpec): readonly AttachedDisk[] {
  if (!hasHotplug(spec)) return [];
  return spec.disks.filter(({ isRemovable = false }) => isRemovable).slice(0, limits.vmHotplugDisksMax);
}

/** All slots are functions of one device, far from those that get their places one after the other. */
export const slotPrefix = "slot";
const diskSlots = { address: "0x1e", firstChassis: 1 };

/** Slots into which a disk goes, and out of which it comes, while the VM runs; and the disks that are there from the start. */
function hotplugArguments(spec: InstanceSpec): string[] {
  const ids = Array.from({ length: limits.vmHotplugDisksMax }, (_, at) => `${slotPrefix}${at}`);
  const slots = slotArguments(diskSlots, ids);
  const disks = disksInSlots(spec).map((disk, at) => [
    ...["-blockdev", JSON.stringify(diskBlockdev(disk))],
    ...["-device", JSON.stringify({ ...slottedDisk(disk, `${slotPrefix}${at}`), ...bootPlaceOf(spec, disk.name) })],
  ]);
  return [...slots, ...disks.flat()];
}

/** The slots are functions of one device, of which there are eight at most; a guest tells them apart by their chassis. */
function slotArguments({ address, firstChassis }: typeof nicSlots, ids: readonly string[]): string[] {
  return ids.flatMap((id, at) => {
    const place = `chassis=${firstChassis + at},addr=${address}.${at}${at === 0 ? ",multifunction=on" : ""}`;
    return ["-device", `pcie-root-port,id=${id},bus=pcie.0,${place},io-reserve=0`];
  });
}

/** The device of a disk in a slot. */
export function slottedDisk({ name }: Pick<AttachedDisk, "name">, slot: string): Readonly<Record<string, unknown>> {
  const drive = diskNodeName(name);
  return { driver: "virtio-blk-pci", id: drive, drive, serial: name, bus: slot, werror: "stop", rerror: "stop" };
}

/** QEMU names the disk so when it fails. @throws INVALID_ARGUMENT */
export function diskNodeName(name: string): string {
  if (diskNameAllowed.test(name)) return `${diskNodePrefix}${name}`;
  throw new BlixardError("INVALID_ARGUMENT", "the name of a disk has characters that are not allowed");
}

/** Without a base, none is taken from the header either: the process of the VM may have written that. */
export function diskBlockdev(disk: Omit<AttachedDisk, "isRemovable">): Readonly<Record<string, unknown>> {
  const { path, format, base } = disk;
  const file = (filename: string) => ({ driver: "file", filename, locking: "on" });
  const backing = base === undefined ? null : { driver: base.format, "read-only": true, file: file(base.path) };
  return {
    driver: format,
    "node-name": diskNodeName(disk.name),
    discard: "unmap",
    file: { ...file(path), discard: "unmap" },
    ...(format === "qcow2" ? { backing } : {}),
  };
}

/** Far from those that get their places one after the other. A guest needs no driver for SATA that way. */
const cdromsAddress = "0x1b";
const cdromsBus = "cdroms";
const cdromPrefix = "cdrom-";

/** Drives that stay, with what lies in them at the start. */
function cdromArguments(spec: InstanceSpec): string[] {
  const { cdroms = [] } = spec;
  if (cdroms.length === 0) return [];
  const drives = cdroms.flatMap((cdrom) => {
    const id = cdromIdOf(cdrom);
    const file = { driver: "file", filename: cdrom.path, "read-only": true };
    const medium = JSON.stringify({ driver: "raw", "node-name": id, "read-only": true, file });
    const drive = {
      driver: "scsi-cd",
      id,
      bus: `${cdromsBus}.0`,
      serial: cdrom.name,
      ...bootPlaceOf(spec, cdrom.name),
    };
    return cdrom.path === undefined
      ? ["-device", JSON.stringify(drive)]
      : ["-blockdev", medium, "-device", JSON.stringify({ ...drive, drive: id })];
  });
  return ["-device", `virtio-scsi-pci,id=${cdromsBus},bus=pcie.0,addr=${cdromsAddress}`, ...drives];
}

/** The id of a drive, and of the file that lies in it when its VM starts. @throws INVALID_ARGUMENT */
export function cdromIdOf({ name }: Pick<AttachedCdrom, "name">): string {
  if (diskNameAllowed.test(name)) return `${cdromPrefix}${name}`;
  throw new BlixardError("INVALID_ARGUMENT", "the name of a CD-ROM drive has characters that are not allowed");
}

/** Undefined for the id of something else. */
export function cdromNameOf(id: unknown): string | undefined {
  return typeof id === "string" && id.startsWith(cdromPrefix) ? id.slice(cdromPrefix.length) : undefined;
}
