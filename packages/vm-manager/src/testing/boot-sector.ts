import { concatBytes } from "@blixard/common";
import type { ImageRecord } from "@blixard/protocol";
import { Assembler } from "../guest/assembler.ts";
import type { VmManager } from "../vm-manager-types.ts";

export const bootSectorBanner = "booted from disk\n";

/** A boot sector that writes one line to COM1 and sleeps. */
function bootSector(): Uint8Array {
  const program = new Assembler(0x7c00);
  program.bytes(0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xbe).reference("absolute16", "text"); // cli; ds = 0; mov si, text
  program.label("next").bytes(0xac, 0x84, 0xc0, 0x74).reference("relative8", "halt"); // lodsb; test al, al; jz
  program.bytes(0xba, 0xf8, 0x03, 0xee, 0xeb).reference("relative8", "next"); // mov dx, 0x3f8; out dx, al
  program.label("halt").bytes(0xf4, 0xeb).reference("relative8", "halt");
  program.label("text").text(bootSectorBanner);
  program.fill(510 - program.length).bytes(0x55, 0xaa);
  // The firmware reads by cylinder and refuses a disk that is smaller than one.
  return concatBytes([program.assemble(), new Uint8Array(1024 * 1024)]);
}

/** The image of a raw disk, which is given to the manager's store. */
export async function rawDiskImage(manager: VmManager): Promise<ImageRecord> {
  const blob = await manager.images.put(oneChunk(bootSector()));
  return {
    name: "disk",
    format: "disk",
    builtin: false,
    blobs: [{ role: "disk", ...blob }],
    commandLine: "",
    minMemoryMiB: 16,
    sources: [1],
    createdUnixMs: 0,
  };
}

async function* oneChunk(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
