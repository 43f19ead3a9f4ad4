import type { ImageRecord } from "@blixard/protocol";
import { multibootElf } from "../guest/nano-guest.ts";
import type { VmManager } from "../vm-manager-types.ts";

/** The image of a guest that runs and writes nothing anywhere, which is given to the manager's store. */
export async function silentImage(manager: VmManager): Promise<ImageRecord> {
  const kernel = multibootElf((program) => program.label("again").bytes(0xf3, 0x90).jump("again")); // pause
  const blob = await manager.images.put(oneChunk(kernel));
  return {
    name: "silent",
    format: "multiboot",
    builtin: false,
    blobs: [{ role: "kernel", ...blob }],
    commandLine: "",
    minMemoryMiB: 8,
    sources: [1],
    createdUnixMs: 0,
  };
}

async function* oneChunk(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
