/**
 * One VM manager per data directory: a lock file that names its holder, and its own inode, because a copy of the
 * directory is held by nobody.
 */
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { assert, BlixardError, systemErrorCodeOf } from "@blixard/common";
import { identifyProcess, isAlive, type ProcessIdentity } from "./process/process-identity.ts";

const takeoverAttemptsMax = 3;

export interface DataDirLock {
  release(): Promise<void>;
}

/** @throws DATA_DIR_IN_USE when a live process holds the directory. */
export async function lockDataDir(dataDir: string): Promise<DataDirLock> {
  const path = join(dataDir, "vm-manager.lock");
  for (let attempt = 0; attempt < takeoverAttemptsMax; attempt++) {
    if (await tryCreate(path)) return { release: () => rm(path, { force: true }) };
    const holder = await readHolder(path);
    if (holder !== undefined && isAlive(holder)) {
      throw new BlixardError("DATA_DIR_IN_USE", `process ${holder.pid} manages the VMs of ${dataDir}`);
    }
    await rm(path, { force: true });
  }
  throw new BlixardError("DATA_DIR_IN_USE", `another process takes the VMs of ${dataDir} just now`);
}

async function tryCreate(path: string): Promise<boolean> {
  const self = identifyProcess(process.pid);
  assert(self !== undefined, "this process is alive");
  try {
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(JSON.stringify({ ...self, inode: await inodeOf(file) }));
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if (systemErrorCodeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Undefined when the file is gone, was copied from elsewhere, or is torn: its writer died before it was filled. */
async function readHolder(path: string): Promise<ProcessIdentity | undefined> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const value = JSON.parse(await file.readFile("utf8")) as Partial<ProcessIdentity & { readonly inode: string }>;
    if (typeof value.pid !== "number" || typeof value.startTime !== "string") return undefined;
    if (value.inode !== undefined && value.inode !== (await inodeOf(file))) return undefined;
    return { pid: value.pid, startTime: value.startTime };
  } catch {
    return undefined;
  } finally {
    await file?.close();
  }
}

async function inodeOf(file: FileHandle): Promise<string> {
  const { dev, ino } = await file.stat({ bigint: true });
  return `${dev}:${ino}`;
}
