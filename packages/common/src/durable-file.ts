/**
 * Files that are either there whole or not at all, also after a power cut: written beside, synced, renamed, and the
 * directory synced (fsync(2), rename(2)). Only this user reads them.
 */
import { open, rename, rm, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { systemErrorCodeOf } from "./errors.ts";

/** Replaces the file. Two writers of one path at a time are the caller's fault: they share the draft beside it. */
export async function writeFileDurable(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`;
  const file = await openDraft(temporary);
  try {
    await file.writeFile(data);
    await file.sync();
  } finally {
    await file.close();
  }
  await renameDurable(temporary, path);
}

/** A draft of a writer that was killed goes; a link in its place is not followed. */
async function openDraft(path: string) {
  try {
    return await open(path, "wx", 0o600);
  } catch (error) {
    if (systemErrorCodeOf(error) !== "EEXIST") throw error;
    await unlink(path);
    return await open(path, "wx", 0o600);
  }
}

export async function renameDurable(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncDirectory(dirname(to));
}

/** Removes a file or a whole directory; one that is not there is no error. */
export async function removeDurable(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await syncDirectory(dirname(path));
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
