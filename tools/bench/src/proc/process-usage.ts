/** What Linux says in /proc of a process: its processor time, its memory and what it sent to the disk. */
import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ, which is 100 on every architecture that Node.js runs on. */
const ticksPerSecond = 100;

export interface ProcessUsage {
  /** In user and kernel mode, all threads together. */
  readonly cpuSeconds: number;
  readonly rssMiB: number;
  /** Bytes that were sent towards the disk since the start; undefined where the kernel does not count them for us. */
  readonly writtenBytes: number | undefined;
}

export interface ThreadUsage {
  readonly id: number;
  readonly name: string;
  readonly cpuSeconds: number;
}

/** Of a line of /proc/PID/stat; the name may hold spaces and parentheses. See proc(5): utime is the 14th field. */
export function parseStat(stat: string): ThreadUsage {
  const [from, to] = [stat.indexOf("("), stat.lastIndexOf(")")];
  const fields = stat.slice(to + 2).split(" ");
  const ticks = Number(fields[11]) + Number(fields[12]);
  if (from < 0 || !Number.isFinite(ticks)) throw new Error(`no line of /proc/PID/stat: ${stat.slice(0, 80)}`);
  return { id: Number(stat.slice(0, from)), name: stat.slice(from + 1, to), cpuSeconds: ticks / ticksPerSecond };
}

/** Of /proc/PID/status: the resident memory. */
export function parseRssMiB(status: string): number {
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? [];
  return Number(kibibytes ?? 0) / 1024;
}

/** Of /proc/PID/io: what was written and not deleted again before it reached the disk. */
export function parseWrittenBytes(io: string): number | undefined {
  const [, written] = /^write_bytes: (\d+)$/m.exec(io) ?? [];
  const [, cancelled] = /^cancelled_write_bytes: (-?\d+)$/m.exec(io) ?? [];
  return written === undefined ? undefined : Number(written) - Number(cancelled ?? 0);
}

export function processUsage(pid: number): ProcessUsage {
  const read = (file: string) => readFileSync(`/proc/${pid}/${file}`, "utf8");
  let io = "";
  try {
    io = read("io");
  } catch {
    // The kernel may keep this file from us; nothing else is lost with it.
  }
  const { cpuSeconds } = parseStat(read("stat"));
  return { cpuSeconds, rssMiB: parseRssMiB(read("status")), writtenBytes: parseWrittenBytes(io) };
}

/** The threads that a process has now. */
export function threadUsages(pid: number): ThreadUsage[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      return [parseStat(readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8"))];
    } catch {
      // It ended after the folder was read.
      return [];
    }
  });
}
