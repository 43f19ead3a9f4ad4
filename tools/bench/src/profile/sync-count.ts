/** Counts from outside how often a process syncs to the disk, with strace, which makes it slow: so in a run of its own. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SyncCount {
  /** Ends the count. */
  stop(): Promise<number>;
}

export function hasStrace(): boolean {
  return spawnSync("strace", ["--version"], { stdio: "ignore" }).status === 0;
}

/** Counts fdatasync and fsync of all threads of a process from now on. */
export function startSyncCount(pid: number): SyncCount {
  const directory = mkdtempSync(join(tmpdir(), "blixard-strace-"));
  const report = join(directory, "report");
  const args = ["-f", "-c", "-e", "trace=fdatasync,fsync", "-o", report, "-p", String(pid)];
  const child = spawn("strace", args, { stdio: "ignore" });
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  return {
    stop: async () => {
      child.kill("SIGINT");
      await ended;
      try {
        return parseSyncCount(readFileSync(report, "utf8"));
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  };
}

/** Of the table that `strace -c` writes: the fourth column holds the calls. */
export function parseSyncCount(report: string): number {
  const rows = report.split("\n").map((line) => line.trim().split(/\s+/));
  const counted = rows.filter((cells) => ["fdatasync", "fsync"].includes(cells.at(-1) ?? ""));
  return counted.reduce((sum, cells) => sum + Number(cells[3]), 0);
}
