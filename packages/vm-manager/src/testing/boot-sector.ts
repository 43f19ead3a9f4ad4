import { concatBytes, fromUtf8 } from "@blixard/common";
import type { ImageRecord } from "@blixard/protocol";
import { type IsoFile, isoImage, isoSectorBytes } from "../cloud-init/iso9660.ts";
import { Assembler } from "../guest/assembler.ts";
import type { VmManager } from "../vm-manager-types.ts";

export const bootSectorBanner = "booted from disk\n";
export const discBanner = "booted from disc\n";

/** A boot sector that writes one line to COM1 and sleeps. */
function bootSector(banner: string): Uint8Array {
  const program = new Assembler(0x7c00);
  program.bytes(0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xbe).reference("absolute16", "text"); // cli; ds = 0; mov si, text
  program.label("next").bytes(0xac, 0x84, 0xc0, 0x74).reference("relative8", "halt"); // lodsb; test al, al; jz
  program.bytes(0xba, 0xf8, 0x03, 0xee, 0xeb).reference("relative8", "next"); // mov dx, 0x3f8; out dx, al
  program.label("halt").bytes(0xf4, 0xeb).reference("relative8", "halt");
  program.label("text").text(banner);
  program.fill(510 - program.length).bytes(0x55, 0xaa);
  return program.assemble();
}

/** The image of a raw disk, which is given to the manager's store. */
export async function rawDiskImage(manager: VmManager): Promise<ImageRecord> {
  // The firmware reads by cylinder and refuses a disk that is smaller than one.
  const disk = concatBytes([bootSector(bootSectorBanner), new Uint8Array(1024 * 1024)]);
  const blob = await manager.images.put(oneChunk(disk));
  return { ...plainImage, name: "disk", format: "disk", blobs: [{ role: "disk", ...blob }] };
}

/** The image of a disc with these files. */
export async function isoImageOf(manager: VmManager, name: string, files: readonly IsoFile[]): Promise<ImageRecord> {
  return await discImage(manager, name, isoImage("BLIXARD", files));
}

const bootRecordAt = 17;
const filesAt = 25;

/** The image of a disc that boots: El Torito, with one boot sector that is not taken for a floppy. */
export async function bootableIsoImage(manager: VmManager, name: string): Promise<ImageRecord> {
  const catalog = new Uint8Array(isoSectorBytes);
  const entries = new DataView(catalog.buffer);
  catalog.set([1, 0], 0);
  catalog.set([0x55, 0xaa], 30);
  entries.setUint16(28, 0x10000 - (0x0001 + 0xaa55), true);
  // Bootable, at the usual segment, with one sector of 512 bytes.
  catalog.set([0x88, 0], 32);
  entries.setUint16(32 + 6, 1, true);
  entries.setUint32(32 + 8, filesAt + 1, true);
  const bytes = isoImage("BLIXARD", [
    { name: "a-catalog", content: catalog },
    { name: "b-sector", content: bootSector(discBanner) },
  ]);
  // In the place of the names in Joliet.
  const record = new Uint8Array(isoSectorBytes);
  record.set(fromUtf8("\0CD001\x01EL TORITO SPECIFICATION"));
  new DataView(record.buffer).setUint32(0x47, filesAt, true);
  bytes.set(record, bootRecordAt * isoSectorBytes);
  return await discImage(manager, name, bytes);
}

async function discImage(manager: VmManager, name: string, bytes: Uint8Array): Promise<ImageRecord> {
  const blob = await manager.images.put(oneChunk(bytes));
  return { ...plainImage, name, format: "iso", blobs: [{ role: "iso", ...blob }] };
}

const plainImage = { builtin: false, commandLine: "", minMemoryMiB: 16, sources: [1], createdUnixMs: 0 };

async function* oneChunk(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
