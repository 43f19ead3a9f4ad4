import { readdirSync, readFileSync } from "node:fs";

/**
 * Ids of the processes on this machine that run the VM with this uuid, counted from outside by their arguments: QEMU's
 * `-uuid`, or the uuid among the arguments of an embedded VM host.
 */
export function instanceProcesses(vmId: string): number[] {
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const args = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      if (args.some((arg) => arg.includes(vmId)) && Number(name) !== process.pid) found.push(Number(name));
    } catch {
      // The process ended while it was looked at.
    }
  }
  return found;
}
