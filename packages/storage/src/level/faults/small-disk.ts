/** A small disk for the tests that fill one: a tmpfs of a bounded size, mounted by the test and unmounted again. */
import { spawnSync } from "node:child_process";
import { mkdtemp, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SmallDisk {
  readonly path: string;
  unmount(): Promise<void>;
}

/** Resolves with why there is none when this user may not mount. */
export async function mountSmallDisk(sizeBytes: number): Promise<SmallDisk | string> {
  const path = await mkdtemp(join(tmpdir(), "blixard-disk-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "blixard-test", path]);
  if (mounted.status !== 0) {
    await rmdir(path);
    return "no tmpfs can be mounted here: run the tests as root, or in a container with CAP_SYS_ADMIN";
  }
  const unmount = async () => {
    // A database that is still open keeps the mount busy; lazily it goes when the process ends.
    if (spawnSync("umount", [path]).status !== 0) spawnSync("umount", ["-l", path]);
    await rmdir(path);
  };
  return { path, unmount };
}
