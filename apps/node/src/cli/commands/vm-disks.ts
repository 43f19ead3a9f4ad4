/** The disks of a VM on the command line. */
import { BlixardError } from "@blixard/common";
import type { VmDisk, VmRecord } from "@blixard/protocol";
import { parseInteger, parseMemoryMiB } from "../quantities.ts";
import { formatTable } from "../table.ts";
import type { ListOption } from "./list-option.ts";

const mebibytesPerGib = 1024;
const bytesPerMiB = 1024 ** 2;
const form = "NAME[,size=SIZE][,ephemeral][,volume=VOLUME][,iops=NUMBER][,rate=SIZE]";

export const diskOption: ListOption = {
  flag: "--disk <disk>",
  hint: `${form}; root is that of the image, in the size that is given; for example data,size=8G`,
  read: (given) => given.map(parseDisk),
};

/** `data,size=8G,ephemeral`. @throws INVALID_ARGUMENT */
function parseDisk(text: string): VmDisk {
  const [name = "", ...words] = text.split(",");
  let disk: VmDisk = { name };
  for (const word of words) {
    const [key, value] = word.split("=", 2);
    if (key === "size" && value !== undefined) disk = { ...disk, sizeGiB: parseGiB(value, "--disk: size") };
    else if (key === "volume" && value !== undefined) disk = { ...disk, volume: value };
    else if (key === "iops" && value !== undefined) disk = { ...disk, iops: parseInteger(value, "--disk: iops", 1) };
    else if (key === "rate" && value !== undefined) disk = { ...disk, bytesPerSecond: parseRate(value) };
    else if (word === "ephemeral") disk = { ...disk, ephemeral: true };
    else throw new BlixardError("INVALID_ARGUMENT", `--disk: "${word}" is no part of ${form}`);
  }
  return disk;
}

/** @throws INVALID_ARGUMENT that names `what` */
export function parseGiB(text: string, what: string): number {
  const sizeGiB = parseMemoryMiB(text) / mebibytesPerGib;
  if (Number.isInteger(sizeGiB)) return sizeGiB;
  throw new BlixardError("INVALID_ARGUMENT", `${what}: ${text} is not a whole number of GiB`, {
    hint: "For example 8G or 1T.",
  });
}

/** Bytes of each second. @throws INVALID_ARGUMENT */
export function parseRate(text: string): number {
  return parseMemoryMiB(text) * bytesPerMiB;
}

function limitText({ iops, bytesPerSecond }: VmDisk): string {
  const rate = bytesPerSecond === undefined ? [] : [`${Number((bytesPerSecond / bytesPerMiB).toFixed(2))} MiB/s`];
  const parts = [...(iops === undefined ? [] : [`${iops} iops`]), ...rate];
  return parts.length === 0 ? "-" : parts.join(", ");
}

function sizeText({ sizeGiB, volume }: VmDisk): string {
  if (volume !== undefined) return `volume ${volume}`;
  return sizeGiB === undefined ? "as the image" : `${sizeGiB} GiB`;
}

/** `root 8 GiB, data 1 GiB (ephemeral)`; null for a VM that says nothing about disks. */
export function disksText({ spec: { disks } }: VmRecord): string | null {
  if (disks === undefined || disks.length === 0) return null;
  return disks
    .map((disk) => `${disk.name} ${sizeText(disk)}${disk.ephemeral === true ? " (ephemeral)" : ""}`)
    .join(", ");
}

/** A table below that of the VM; nothing for a VM without disks. */
export function disksTable(vm: VmRecord): string {
  const all = disksShown(vm);
  if (all.length === 0 && vm.detaching === undefined) return "";
  const rows = all.map((disk) => [
    ...[disk.name, sizeText(disk), disk.ephemeral === true ? "ephemeral" : "kept", placeOf(vm, disk)],
    ...[guestText(vm, disk), limitText(disk)],
  ]);
  const leaving = (vm.detaching ?? []).map(({ disk, volume }) => [
    ...[disk, `volume ${volume}`, "kept", "is being detached", guestText(vm, { name: disk }), "-"],
  ]);
  return `\n${formatTable(["DISK", "SIZE", "DATA", "MADE", "GUEST", "LIMITS"], [...rows, ...leaving])}`;
}

const gibibyte = 1024 ** 3;

/** What the guest has of it now. */
function guestText({ guestDisks }: VmRecord, { name }: Pick<VmDisk, "name">): string {
  const seen = guestDisks?.disks.find((disk) => disk.name === name);
  return seen === undefined ? "-" : `${Number((seen.sizeBytes / gibibyte).toFixed(2))} GiB`;
}

/** One line for each disk. */
export function diskLines(vm: VmRecord): string[] {
  return disksShown(vm).map(
    (disk) =>
      `disk       ${disk.name}, ${sizeText(disk)}${disk.ephemeral === true ? ", ephemeral" : ""}: ${placeOf(vm, disk)}`,
  );
}

/** Those of the specification, and those that were made without a word about them. */
function disksShown({ spec: { disks = [] }, disks: made }: VmRecord): readonly VmDisk[] {
  const named = new Set(disks.map(({ name }) => name));
  return [...(made?.names ?? []).filter((name) => !named.has(name)).map((name) => ({ name })), ...disks];
}

function placeOf({ disks: made, node }: VmRecord, { name, volume }: VmDisk): string {
  if (volume !== undefined) return `on node ${node}`;
  return made?.names.includes(name) === true ? `on node ${made.node}` : "not yet";
}
