/** Finds the process of an instance again, after the manager that started it went away. */
import type { Clock } from "@blixard/common";
import type { DriverKind } from "@blixard/protocol";
import type { InstanceHandle, InstancePaths, VmInstance } from "../driver.ts";
import { EndedInstance } from "./ended-instance.ts";
import { readJournalReason } from "./event-journal.ts";
import { isAlive, readBootId } from "./process-identity.ts";
import { QmpInstance } from "./qmp-instance.ts";
import { findInstanceProcess } from "./spawn-instance.ts";

export async function adoptProcess(
  clock: Clock,
  kind: DriverKind,
  paths: InstancePaths,
  handle: InstanceHandle | undefined,
): Promise<VmInstance> {
  // Of a start that was never written down, the machine and the version of the driver are not known.
  const defaults = { driver: kind, machine: "", driverVersion: "", bootId: await readBootId() };
  if (handle !== undefined && handle.bootId !== defaults.bootId) {
    return new EndedInstance(handle, "host-reboot", "the host was started anew");
  }
  const found = handle !== undefined && isAlive(handle) ? handle : await findInstanceProcess(paths);
  if (found === undefined) {
    const reason = (await readJournalReason(paths.journalOut)) ?? "process-lost";
    const ended = handle ?? { ...defaults, pid: 0, startTime: "" };
    return new EndedInstance(ended, reason, `process ${ended.pid} ended while no manager ran`);
  }
  const instance = new QmpInstance({ clock, handle: { ...defaults, ...handle, ...found }, paths });
  await instance.firstContact();
  return instance;
}
