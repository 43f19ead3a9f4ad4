/** A file system that a test can fill: a tmpfs of a few MiB, mounted for it. Needs root. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemErrorCodeOf } from "@blixard/common";
import type { RequiredComponent } from "./required-component.ts";

const mebibyte = 1024 * 1024;

export class SmallFileSystem implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** @throws when this process may not mount */
  static mount(sizeMiB: number): SmallFileSystem {
    const path = mkdtempSync(join(tmpdir(), "blixard-small-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeMiB}m,mode=0711`, "tmpfs", path], { stdio: "ignore" });
    } catch (error) {
      rmSync(path, { recursive: true });
      throw error;
    }
    return new SmallFileSystem(path);
  }

  resize(sizeMiB: number): void {
    execFileSync("mount", ["-o", `remount,size=${sizeMiB}m`, this.path]);
  }

  /** Writes a file until nothing more fits. Resolves with its path. */
  async fill(): Promise<string> {
    const path = join(this.path, "filler");
    for (let sizeMiB = 1; ; sizeMiB++) {
      try {
        await writeFile(path, Buffer.alloc(mebibyte, sizeMiB), { flag: "a" });
      } catch (error) {
        if (systemErrorCodeOf(error) === "ENOSPC") return path;
        throw error;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What still has a file open there must not keep the others waiting.
    execFileSync("umount", ["-l", this.path]);
    rmSync(this.path, { recursive: true, force: true });
  }
}

function canMount(): boolean {
  try {
    const tried = SmallFileSystem.mount(1);
    execFileSync("umount", [tried.path]);
    rmSync(tried.path, { recursive: true });
    return true;
  } catch {
    return false;
  }
}

export const smallFileSystemNeeds: RequiredComponent = {
  name: "the right to mount a file system",
  present: canMount(),
  install: "run the tests as root",
};
