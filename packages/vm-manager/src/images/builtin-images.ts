/** The images that every node makes itself. */
import { createHash } from "node:crypto";
import type { ImageRecord } from "@blixard/protocol";
import { demoGuestElf } from "../guest/demo-guest.ts";
import { nanoGuestElf } from "../guest/nano-guest.ts";

/** Memory that QEMU's firmware and either guest need. */
const memoryMiBMin = 8;

/** `demo` is the name that a first example uses: a guest with a page. `builtin/nano` is the smallest one that there is. */
const guests = { "builtin/nano": nanoGuestElf(), demo: demoGuestElf() };

/** What they boot, by the digest. */
export const builtinBlobs = new Map<string, Uint8Array>();

export const builtinImages: readonly ImageRecord[] = Object.entries(guests).map(([name, kernel]) => {
  const digest = createHash("sha256").update(kernel).digest("hex");
  builtinBlobs.set(digest, kernel);
  return {
    name,
    format: "multiboot",
    builtin: true,
    blobs: [{ role: "kernel", digest, sizeBytes: kernel.length }],
    commandLine: "",
    minMemoryMiB: memoryMiBMin,
    sources: [],
    createdUnixMs: 0,
  };
});
