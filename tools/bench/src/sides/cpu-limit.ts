/** Holds processes below a share of one core: by a cgroup where one can be made, else by stopping them in turn. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface CpuLimit {
  readonly how: "cgroup" | "duty cycle";
  /** Lets the processes run freely again. */
  lift(): void;
}

const root = "/sys/fs/cgroup";
const periodMs = 100;

/** Holds all of `pids` together below `percent` of one core. */
export function limitCpu(pids: readonly number[], percent: number): CpuLimit {
  return limitByCgroup(pids, percent) ?? limitByStopping(pids, percent);
}

function limitByCgroup(pids: readonly number[], percent: number): CpuLimit | undefined {
  const quotaUs = String(Math.round(percent * 10 * periodMs));
  const periodUs = String(periodMs * 1_000);
  // The first version has a hierarchy for each controller, the second has one for all.
  const isFirst = existsSync(join(root, "cpu", "cpu.cfs_quota_us"));
  const parent = isFirst ? join(root, "cpu") : root;
  const group = join(parent, `blixard-starved-${process.pid}`);
  // The great weight lets the quota alone decide, and not what else runs on the machine.
  const limits: readonly (readonly [string, string])[] = isFirst
    ? [
        ["cpu.cfs_period_us", periodUs],
        ["cpu.cfs_quota_us", quotaUs],
        ["cpu.shares", "16384"],
      ]
    : [
        ["cpu.max", `${quotaUs} ${periodUs}`],
        ["cpu.weight", "1600"],
      ];
  const move = (to: string) => {
    for (const pid of pids) writeFileSync(join(to, "cgroup.procs"), String(pid));
  };
  try {
    mkdirSync(group, { recursive: true });
    for (const [file, value] of limits) writeFileSync(join(group, file), value);
    move(group);
  } catch {
    return undefined;
  }
  return {
    how: "cgroup",
    lift: () => {
      const left = readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").filter(Boolean);
      for (const pid of left) writeFileSync(join(parent, "cgroup.procs"), pid);
      rmdirSync(group);
    },
  };
}

/** One process at a time runs, for its part of the share. */
function limitByStopping(pids: readonly number[], percent: number): CpuLimit {
  const sliceMs = Math.max(1, (periodMs * percent) / 100 / pids.length);
  let at = 0;
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  const timer = setInterval(() => {
    const pid = pids[at % pids.length] ?? 0;
    at++;
    process.kill(pid, "SIGCONT");
    setTimeout(() => process.kill(pid, "SIGSTOP"), sliceMs);
  }, periodMs / pids.length);
  return {
    how: "duty cycle",
    lift: () => {
      clearInterval(timer);
      setTimeout(() => {
        for (const pid of pids) process.kill(pid, "SIGCONT");
      }, 2 * sliceMs);
    },
  };
}
