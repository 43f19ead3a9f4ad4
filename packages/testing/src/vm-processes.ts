/** The processes of VMs on this machine, seen from outside, as anybody can who looks. */
import { readdirSync, readFileSync } from "node:fs";

/**
 * Ids of the processes that run the VM with this uuid, found by their arguments: QEMU's `-uuid`, or the uuid among the
 * arguments of an embedded VM host.
 */
export function instanceProcesses(vmId: string): number[] {
  return processesWhere((args) => args.some((arg) => arg.includes(vmId)));
}

/** Ids of the processes that hold the VMs of the node with this data directory as long as it has a lease. */
export function watchdogProcesses(dataDir: string): number[] {
  return processesWhere(
    (args) => args.includes("--blixard-watchdog") && args.some((arg) => arg.startsWith(`${dataDir}/`)),
  );
}

function processesWhere(holds: (args: readonly string[]) => boolean): number[] {
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    try {
      if (holds(readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0"))) found.push(Number(name));
    } catch {
      // The process ended while it was looked at.
    }
  }
  return found;
}
