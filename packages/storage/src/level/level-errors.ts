/**
 * What the errors of LevelDB mean. Most of them are a text with a path in it, so no word of theirs is trusted: the code
 * decides, and where there is none, the files are asked what the operating system says about them.
 */
import { access, constants, open, readdir, readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError, fileErrorOf, reasonOf, systemErrorCodeOf, toBlixardError } from "@blixard/common";
import { corrupt } from "../records/record.ts";

/** The error of a database that did not open. Resolves with DATA_DIR_IN_USE, DATA_DIR_INVALID, STORAGE_CORRUPT or STORAGE_FAILED. */
export async function openError(error: unknown, location: string): Promise<BlixardError> {
  const cause = (error as { cause?: unknown }).cause ?? error;
  const code = systemErrorCodeOf(cause);
  if (code === "LEVEL_LOCKED") {
    return new BlixardError("DATA_DIR_IN_USE", `${location} is in use by another process`, {
      cause,
      hint: "Stop the other node, or choose another data directory.",
    });
  }
  const text = `${location} cannot be opened: ${reasonOf(cause)}`;
  if (code === "LEVEL_CORRUPTION") return corrupt(text, cause);
  const obstacle = await obstacleIn(location);
  if (obstacle === undefined) return fileErrorOf(cause, `open ${location}`);
  return systemErrorCodeOf(obstacle) === "ENOENT" ? corrupt(text, cause) : fileErrorOf(obstacle, `open ${location}`);
}

/** The error of a read in a database that is open. */
export function readError(error: unknown, location: string): BlixardError {
  const codes = [error, (error as { cause?: unknown }).cause].map(systemErrorCodeOf);
  if (codes.includes("LEVEL_CORRUPTION")) return corrupt(`${location} cannot be read: ${reasonOf(error)}`, error);
  return toBlixardError(error, "STORAGE_FAILED", `read ${location}`);
}

/** What keeps this process from using the files of a database; ENOENT when there is none. */
async function obstacleIn(location: string): Promise<unknown> {
  try {
    const names = await readdir(location);
    await access(location, constants.W_OK | constants.X_OK);
    for (const name of names) {
      const file = await open(join(location, name), name === "LOCK" ? "r+" : "r");
      await file.close();
    }
    await access(join(location, (await readFile(join(location, "CURRENT"), "latin1")).trimEnd()));
    return undefined;
  } catch (error) {
    return (await fullDisk(location)) ?? error;
  }
}

/** A new database on a full disk is not whole, and nothing is damaged. Undefined where something can be written. */
async function fullDisk(location: string): Promise<unknown> {
  const path = join(location, "probe");
  try {
    const file = await open(path, "wx");
    try {
      await file.writeFile(new Uint8Array(probeBytes));
      await file.sync();
    } finally {
      await file.close();
      await unlink(path);
    }
    return undefined;
  } catch (error) {
    return ["ENOSPC", "EDQUOT", "EIO", "EMFILE", "ENFILE"].includes(systemErrorCodeOf(error) ?? "") ? error : undefined;
  }
}

/** One block of a file system. */
const probeBytes = 4_096;
