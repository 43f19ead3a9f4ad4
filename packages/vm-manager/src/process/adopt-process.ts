/** Finds the process of an instance again, after the manager that started it went away. */
import { join } from "node:path";
import type { Clock } from "@blixard/common";
import type { DriverKind } from "@blixard/protocol";
import { endsOfHost, type InstanceHandle, type InstancePaths, type VmInstance } from "../driver.ts";
import { EndedInstance } from "./ended-instance.ts";
import { readJournalReason } from "./event-journal.ts";
import { findVmProcesses } from "./find-processes.ts";
import { isAlive, type ProcessIdentity, readBootId } from "./process-identity.ts";
import { type QmpAbilities, QmpInstance } from "./qmp-instance.ts";

export async function adoptProcess(
  clock: Clock,
  kind: DriverKind,
  paths: InstancePaths,
  handle: InstanceHandle | undefined,
  abilities: QmpAbilities = {},
): Promise<VmInstance> {
  // Of a start that was never written down, the machine and the version of the driver are not known.
  const defaults = { driver: kind, machine: "", driverVersion: "", bootId: await readBootId() };
  if (handle !== undefined && handle.bootId !== defaults.bootId) {
    return await endedBeforeReboot(paths, handle);
  }
  const found = handle !== undefined && isAlive(handle) ? handle : await findInstanceProcess(paths);
  if (found === undefined) {
    const reason = (await readJournalReason(paths.journalOut)) ?? "process-lost";
    const ended = handle ?? { ...defaults, pid: 0, startTime: "" };
    return new EndedInstance(ended, reason, `process ${ended.pid} ended while no manager ran`);
  }
  const instance = new QmpInstance({ clock, handle: { ...defaults, ...handle, ...found }, paths, ...abilities });
  await instance.firstContact();
  return instance;
}

/** A boot of the host hides no end that came before it: a guest that had powered off or panicked is told as such. */
async function endedBeforeReboot(paths: InstancePaths, handle: InstanceHandle): Promise<VmInstance> {
  const message = "the host was started anew";
  const reason = await readJournalReason(paths.journalOut).catch(() => undefined);
  if (reason === undefined || endsOfHost.has(reason)) return new EndedInstance(handle, "host-reboot", message);
  return new EndedInstance(handle, reason, message, "the host was started anew after that");
}

/** The process of an instance whose handle was never written: found by the files that it was started for. */
async function findInstanceProcess({ journalIn }: InstancePaths): Promise<ProcessIdentity | undefined> {
  const all = await findVmProcesses();
  const found = all.find(
    (each) => each.directory !== undefined && journalIn === join(each.directory, `events-${each.generation}.in`),
  );
  return found === undefined ? undefined : { pid: found.pid, startTime: found.startTime };
}
