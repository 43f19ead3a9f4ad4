/** The files of a store as a whole: whether there is one, whether a process has it open, copies and backups of it. */
import { copyFile, link, mkdir, open, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError, fileErrorOf, messageOf, systemErrorCodeOf } from "@blixard/common";
import { Level } from "level";
import { syncDirectory } from "./marker.ts";

export const storeParts = ["snapshots", "log", "state"] as const;
const storeFiles = ["STORAGE", "vote", "seal"] as const;

/** True when `dataDir` holds a store, or the rest of one. */
export async function hasStore(dataDir: string): Promise<boolean> {
  for (const name of [...storeFiles, ...storeParts]) if (await exists(join(dataDir, name))) return true;
  return false;
}

/**
 * Asks whether a process has the store open, without changing a record.
 * @throws DATA_DIR_IN_USE when one has
 */
export async function assertStoreNotInUse(dataDir: string): Promise<void> {
  for (const part of storeParts) {
    const location = join(dataDir, part);
    if (!(await exists(join(location, "CURRENT")))) continue;
    const db = new Level(location);
    try {
      // LevelDB takes the lock first and then refuses, because there is a database.
      await db.open({ errorIfExists: true });
    } catch (error) {
      if (systemErrorCodeOf((error as { readonly cause?: unknown }).cause) !== "LEVEL_LOCKED") continue;
      throw new BlixardError("DATA_DIR_IN_USE", `${dataDir} is in use by another process`, {
        cause: error,
        hint: "Stop the node first.",
      });
    } finally {
      await db.close();
    }
  }
}

/**
 * Copies the store to `target`, which is made. Tables, which LevelDB never changes, become hard links where the file
 * system has them, so that a copy takes next to no room.
 */
export async function copyStore(dataDir: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o700 });
  for (const name of storeFiles) {
    if (await exists(join(dataDir, name))) await copyDurably(join(dataDir, name), join(target, name));
  }
  for (const part of storeParts) {
    if (!(await exists(join(dataDir, part)))) continue;
    await mkdir(join(target, part), { mode: 0o700 });
    for (const name of await readdir(join(dataDir, part))) {
      if (name === "LOCK" || name.startsWith("LOG")) continue;
      const [from, to] = [join(dataDir, part, name), join(target, part, name)];
      if (name.endsWith(".ldb")) await link(from, to).catch(() => copyFile(from, to));
      else await copyDurably(from, to);
    }
    await syncDirectory(join(target, part));
  }
  await syncDirectory(target);
}

/** Moves all files of the store to `target`, durably. After a crash in the middle, the rest can be moved again. */
export async function moveStore(dataDir: string, target: string): Promise<void> {
  try {
    await mkdir(target, { recursive: true, mode: 0o700 });
    for (const name of [...storeParts, ...storeFiles]) {
      if (await exists(join(dataDir, name))) await rename(join(dataDir, name), join(target, name));
    }
    await syncDirectory(target);
    await syncDirectory(dataDir);
  } catch (error) {
    throw new BlixardError("STORAGE_FAILED", `move the store to ${target}: ${messageOf(error)}`, { cause: error });
  }
}

async function copyDurably(from: string, to: string): Promise<void> {
  await copyFile(from, to);
  const file = await open(to, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return false;
    throw fileErrorOf(error, path);
  }
}
