/**
 * Who a process is. A pid is reused, so a process is named by its pid and its start time, within one boot of the
 * host (proc(5), `/proc/<pid>/stat` field 22). Signals go only to a process whose identity still holds.
 */

import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { systemErrorCodeOf } from "@blixard/common";

export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/** The start time of a live process, or undefined when there is none or it is a zombie. */
export function processStartTime(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT" || systemErrorCodeOf(error) === "ESRCH") return undefined;
    throw error;
  }
  // The command name stands in brackets and may hold spaces and brackets itself: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields[0];
  if (state === "Z" || state === "X") return undefined;
  return fields[19];
}

export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const startTime = processStartTime(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return processStartTime(identity.pid) === identity.startTime;
}

/** Field 22 counts in these since the boot of the host, on every architecture that Node.js runs on (USER_HZ). */
const ticksPerSecond = 100;

/** How long the process has lived, with the time in which the host slept. */
export async function processAgeMs({ startTime }: Pick<ProcessIdentity, "startTime">): Promise<number> {
  const upSeconds = Number((await readFile("/proc/uptime", "utf8")).split(" ")[0]);
  const ageMs = (upSeconds - Number(startTime) / ticksPerSecond) * 1_000;
  return Number.isFinite(ageMs) ? Math.max(0, ageMs) : 0;
}

/** False when the process is not there any more. */
export function signalProcess(identity: ProcessIdentity, signal: "SIGTERM" | "SIGKILL"): boolean {
  if (identity.pid <= 1 || !isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if (systemErrorCodeOf(error) === "ESRCH") return false;
    throw error;
  }
}

/** Changes with every boot of the host. */
export async function readBootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}

/** A file of a process, as text; empty when the process is gone. The kernel answers at once, without a disk. */
export function readProcessFile(pid: number, name: "cmdline" | "status"): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return "";
  }
}

/** The real user id; undefined when the process is gone. */
export function uidOfProcess(pid: number): number | undefined {
  const uid = /^Uid:\s+(\d+)/m.exec(readProcessFile(pid, "status"))?.[1];
  return uid === undefined ? undefined : Number(uid);
}

/** Looked at in one turn of the event loop: about a millisecond. */
const processesInTurn = 64;

/**
 * What `read` tells of each process of this machine, without those of which it tells nothing. `read` waits for nothing: through
 * the pool of threads each file would cost ten times as much.
 */
export async function mapProcesses<T>(read: (pid: number) => T | undefined): Promise<readonly T[]> {
  const pids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry)).map(Number);
  const found: T[] = [];
  for (const [at, pid] of pids.entries()) {
    if (at > 0 && at % processesInTurn === 0) await setImmediate();
    const seen = read(pid);
    if (seen !== undefined) found.push(seen);
  }
  return found;
}
