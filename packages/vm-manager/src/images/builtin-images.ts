/** The images that every node makes itself. */
import { createHash } from "node:crypto";
import type { ImageRecord } from "@blixard/protocol";
import { nanoGuestElf } from "../guest/nano-guest.ts";

/** Memory that QEMU's firmware and the nano guest need. */
const nanoMemoryMiBMin = 8;

export const nanoGuest: Uint8Array = nanoGuestElf();
export const nanoGuestDigest: string = createHash("sha256").update(nanoGuest).digest("hex");

/** `builtin/nano`, and `demo`, the same guest under the name that a first example uses. */
export const builtinImages: readonly ImageRecord[] = ["builtin/nano", "demo"].map((name) => ({
  name,
  format: "multiboot",
  builtin: true,
  blobs: [{ role: "kernel", digest: nanoGuestDigest, sizeBytes: nanoGuest.length }],
  commandLine: "",
  minMemoryMiB: nanoMemoryMiBMin,
  sources: [],
  createdUnixMs: 0,
}));
