/**
 * A copy of a volume, which takes room only where its source does. Nobody may write to the source meanwhile: a VM that runs with
 * it has a second name for its file, and making or removing that name changes the file's time of change.
 */
import { execFile } from "node:child_process";
import { open, rm, stat } from "node:fs/promises";
import { promisify } from "node:util";
import { abortReason, BlixardError, systemErrorCodeOf } from "@blixard/common";
import { renameDurable } from "@blixard/common/system";

const execFileAsync = promisify(execFile);

/** @throws CONFLICT while a VM runs with the source, or when one did meanwhile */
export async function copyVolume(
  from: string,
  to: string,
  { sizeBytes, signal }: { readonly sizeBytes: number; readonly signal: AbortSignal },
): Promise<void> {
  const temporary = `${to}.tmp`;
  const before = await lookAtVolume(from, inUse);
  try {
    // It finds the holes of a file, which Node cannot, and shares blocks where the file system does.
    await execFileAsync("cp", ["--sparse=always", "--reflink=auto", "--", from, temporary], { signal });
    const after = await lookAtVolume(from, inUse);
    if (after.ctimeNs !== before.ctimeNs) throw new BlixardError("CONFLICT", inUse);
    const file = await open(temporary, "r+");
    try {
      if ((await file.stat()).size < sizeBytes) await file.truncate(sizeBytes);
      await file.chmod(0o600);
      await file.sync();
    } finally {
      await file.close();
    }
    if (signal.aborted) throw abortReason(signal);
    await renameDurable(temporary, to);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Undefined for a file that is not there. */
export async function bytesOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** @throws CONFLICT with `message` while a VM runs with it */
export async function lookAtVolume(path: string, message: string) {
  const found = await stat(path, { bigint: true });
  if (found.nlink > 1n) throw new BlixardError("CONFLICT", message);
  return found;
}

const inUse = "a VM runs with the volume that it is a copy of; it is copied when that has stopped";
