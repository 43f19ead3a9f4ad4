/**
 * Finds the processes of VMs on this machine by their arguments, which both drivers write alike: `-uuid ID`, and the
 * journal's character device, whose path names the directory of the instance and the generation of the start. Releases up
 * to 0.1 named a pid file instead.
 */
import { readlinkSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { identifyProcess, mapProcesses, type ProcessIdentity, readProcessFile } from "./process-identity.ts";

export interface VmProcess extends ProcessIdentity {
  readonly vmId: string;
  readonly arguments: readonly string[];
  /** The directory of its instance; undefined for a process that names none. */
  readonly directory: string | undefined;
  readonly generation: number;
}

const vmIdPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const journalPrefix = "pipe,id=journal,path=";
const removedSuffix = " (deleted)";

/** The argument that {@link findVmProcesses} reads; `name` is that of the journal, without its suffix. */
export function journalArgument(name: string): string {
  return `${journalPrefix}${name}`;
}

type Look = Promise<readonly VmProcess[]>;

let running: Promise<unknown> = Promise.resolve();
let next: Look | undefined;

/** The processes that say that they are VMs; those of one VM with `vmId`. Who asks during a look gets what the next one sees. */
export async function findVmProcesses(vmId?: string): Look {
  next ??= lookAfter(running);
  const all = await next;
  return vmId === undefined ? all : all.filter((seen) => seen.vmId === vmId);
}

async function lookAfter(before: Promise<unknown>): Look {
  await before;
  next = undefined;
  const look = mapProcesses(readVmProcess);
  running = look.catch(() => {});
  return await look;
}

function readVmProcess(pid: number): VmProcess | undefined {
  if (pid === process.pid) return undefined;
  const all = readProcessFile(pid, "cmdline").split("\0");
  const vmId = argumentAfter(all, "-uuid")?.toLowerCase();
  if (vmId === undefined || !vmIdPattern.test(vmId)) return undefined;
  const identity = identifyProcess(pid);
  if (identity === undefined) return undefined;
  return { ...identity, vmId, arguments: all, ...placeOf(pid, all) };
}

function placeOf(pid: number, all: readonly string[]): Pick<VmProcess, "directory" | "generation"> {
  const journal = all.find((argument) => argument.startsWith(journalPrefix))?.slice(journalPrefix.length);
  const named = journal?.replaceAll(",,", ",") ?? argumentAfter(all, "-pidfile");
  const nowhere = { directory: undefined, generation: 0 };
  if (named === undefined) return nowhere;
  // Somebody else's process does not show where it works, and names nothing of ours.
  const cwd = directoryOf(pid);
  const path = resolve(cwd.endsWith(removedSuffix) ? cwd.slice(0, -removedSuffix.length) : cwd, named);
  const generation = /^(?:events|pid)-(\d+)$/.exec(basename(path))?.[1];
  return generation === undefined ? nowhere : { directory: dirname(path), generation: Number(generation) };
}

function directoryOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return "/";
  }
}

export function argumentAfter(all: readonly string[], name: string): string | undefined {
  const at = all.indexOf(name);
  return at < 0 ? undefined : all[at + 1];
}
