/**
 * What a node knows of a VM before it decides anything: the record, or, where there is none that says that something runs,
 * what the machine itself shows. A second start beside a running one would be the worst that can happen to a disk, so a
 * process with the id of the VM is adopted when it proves to be this node's own, and is left alone else.
 */
import { existsSync, readdirSync } from "node:fs";
import { type Clock, type Logger, messageOf } from "@blixard/common";
import type { DriverKind } from "@blixard/protocol";
import type { VmWalls } from "./confinement/vm-walls.ts";
import { isDiskFile } from "./disks/vm-disks.ts";
import { type InstanceRecord, newInstanceRecord } from "./instance-record.ts";
import type { InstanceStore } from "./instance-store.ts";
import { nicsInArguments } from "./network/nic.ts";
import { argumentAfter, findVmProcesses, type VmProcess } from "./process/find-processes.ts";
import { readBootId, uidOfProcess } from "./process/process-identity.ts";
import { QmpClient } from "./process/qmp-client.ts";
import type { Seen } from "./reconcile-plan.ts";

/** Why nothing may be started. */
export interface UncertainInstance extends Seen {
  readonly type: "uncertain";
  readonly reason: "record-unreadable" | "foreign-process";
}

export interface KnownInstance {
  readonly type: "known";
  readonly record: InstanceRecord | undefined;
  /** Without a record: files are there that belong to a VM which does not run. */
  readonly leftovers: boolean;
}

export interface FindInstanceDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly store: InstanceStore;
  readonly walls: VmWalls;
}

/** `deletes`: the VM is to be deleted, which needs no record where nothing runs. */
export async function findInstance(
  deps: FindInstanceDeps,
  vmId: string,
  deletes: boolean,
): Promise<KnownInstance | UncertainInstance> {
  let unreadable: string | undefined;
  let record: InstanceRecord | undefined;
  try {
    record = await deps.store.find(vmId);
    if (record !== undefined && record.status !== "none") return { type: "known", record, leftovers: false };
  } catch (error) {
    unreadable = messageOf(error);
  }
  // What has ended here for sure may be deleted here, also while the VM runs for another node of this machine. So may what was
  // never written down here: a process of this node names its directory here, and one of another node another one.
  const own = deps.store.directoryOf(vmId);
  const isOthers = (directory: string | undefined) =>
    directory !== own && (record !== undefined || (directory !== undefined && unreadable === undefined));
  const processes = await findVmProcesses(vmId);
  const [process, ...more] = processes.filter(({ directory }) => !deletes || !isOthers(directory));
  if (process === undefined) {
    if (unreadable === undefined || deletes) return { type: "known", record, leftovers: unreadable !== undefined };
    const hint = "no process here has the id of the VM: delete the VM, or remove that file to start it anew";
    return uncertain("record-unreadable", `${unreadable}; ${hint}`);
  }
  const foreign = (why: string) => uncertain("foreign-process", `process ${process.pid} has the id of the VM: ${why}`);
  if (more.length > 0) return foreign(`so has process ${more.map(({ pid }) => pid).join(", ")}`);
  try {
    const made = await lostRecord(deps, process);
    deps.logger.log("warn", "the record of a running VM was lost; it is made anew", { vmId, pid: process.pid });
    await deps.store.save(made);
    return { type: "known", record: made, leftovers: false };
  } catch (error) {
    return foreign(messageOf(error));
  }
}

function uncertain(reason: UncertainInstance["reason"], message: string): UncertainInstance {
  return { type: "uncertain", phase: "Unknown", reason, message, guest: "none" };
}

/** The record of a process that proves to be this node's own. Rejects with what is missing for that. */
async function lostRecord({ clock, store, walls }: FindInstanceDeps, found: VmProcess): Promise<InstanceRecord> {
  const { vmId, directory, generation, pid, startTime } = found;
  if (directory !== store.directoryOf(vmId)) throw new Error("this node did not start it");
  const uid = uidOfProcess(pid);
  if (uid === undefined || !walls.isOwnUser(uid))
    throw new Error(`it runs as user ${uid}, whom this node gives to no VM`);
  const label = /^guest=([a-z0-9-]+),process=blixard-\1-(\d+)$/.exec(argumentAfter(found.arguments, "-name") ?? "");
  const [, name, epoch] = label ?? [];
  if (name === undefined || epoch === undefined) throw new Error("it does not name its fencing epoch");
  const { runDirectory } = store;
  await expectAnswers(clock, store.pathsOf(vmId, generation, runDirectory).controlSocket, { vmId, name });
  const driver = driverOf(found.arguments);
  const machine = argumentAfter(found.arguments, "-M") ?? "";
  return {
    ...newInstanceRecord({ vmId, name, desired: "running", fencingEpoch: Number(epoch) }, runDirectory),
    status: "started",
    generation,
    driver,
    handle: { driver, pid, startTime, bootId: await readBootId(), machine, driverVersion: "" },
    machine: machine === "" ? null : machine,
    hasDisk: existsSync(directory) && readdirSync(directory).some(isDiskFile),
    confinement: walls.recordedOf(vmId, uid),
    nics: nicsInArguments(found.arguments),
  };
}

/** The socket in the run directory, which the manager bound, is served by this VM. */
async function expectAnswers(
  clock: Clock,
  path: string,
  expected: { readonly vmId: string; readonly name: string },
): Promise<void> {
  const connection = { clock, path, onEvent: () => {}, onClose: () => {} };
  const client = await QmpClient.connect(connection).catch((error: unknown) => {
    throw new Error(`it does not answer at its control socket: ${messageOf(error)}`);
  });
  try {
    const vmId = fieldOf(await client.execute("query-uuid"), "UUID");
    const name = fieldOf(await client.execute("query-name"), "name");
    if (vmId === expected.vmId && name === expected.name) return;
    throw new Error(`at its control socket another VM answers: ${name} (${vmId})`);
  } finally {
    client.close();
  }
}

function fieldOf(answer: unknown, name: string): unknown {
  return typeof answer === "object" && answer !== null ? Reflect.get(answer, name) : undefined;
}

function driverOf(processArguments: readonly string[]): DriverKind {
  const accelerator = argumentAfter(processArguments, "-accel");
  if (accelerator === undefined) return "embedded";
  return accelerator === "kvm" ? "qemu-kvm" : "qemu-tcg";
}
