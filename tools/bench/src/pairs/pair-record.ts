/** What a comparison leaves behind: everything that is needed to judge it later, or to draw it. */
import { execFileSync } from "node:child_process";
import { cpus, loadavg, release } from "node:os";
import { fileURLToPath } from "node:url";
import { measureFsyncFloor } from "../cluster/fsync-floor.ts";
import type { SettingResult } from "./run-pairs.ts";
import type { PairOptions } from "./shapes.ts";

export interface Circumstances {
  readonly startedAt: string;
  readonly commit: string;
  readonly node: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  /** Of the last minute, before anything of ours ran: more than a little says that others were at work. */
  readonly loadAverage: number;
  /** Appends of 4 KiB with fdatasync, one after the other. */
  readonly fsyncPerSecond: number;
}

export interface PairRecord {
  readonly format: 1;
  readonly kind: "versus" | "compare" | "floor";
  readonly base: string;
  readonly head: string;
  readonly circumstances: Circumstances;
  readonly options: Omit<PairOptions, "settings" | "shapes">;
  readonly settings: readonly SettingResult[];
}

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const floorMs = 1_000;

export function circumstances(): Circumstances {
  const [loadAverage = 0] = loadavg();
  const [cpu] = cpus();
  return {
    startedAt: new Date().toISOString(),
    commit: describeCommit(root),
    node: process.version,
    kernel: release(),
    cpu: cpu?.model ?? "unknown",
    cores: cpus().length,
    loadAverage: Number(loadAverage.toFixed(2)),
    fsyncPerSecond: Math.round(measureFsyncFloor(floorMs)),
  };
}

/** The short hash of what is checked out, with a mark where files differ from it. */
export function describeCommit(directory: string): string {
  try {
    const args = ["describe", "--always", "--dirty", "--exclude", "*"];
    return execFileSync("git", args, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "unknown";
  }
}
