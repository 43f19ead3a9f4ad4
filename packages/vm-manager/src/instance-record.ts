/** The record of one VM on this node, and how it changes with each start and each end: pure, and written by the store. */
import { type DriverKind, limits, type StartedWith, type VmDesired, type VmEnd } from "@blixard/protocol";
import type { MadeDisk } from "./disks/vm-disks.ts";
import type { ExitReason, InstanceHandle } from "./driver.ts";
import type { Nic } from "./network/nic.ts";

/** Ends that the manager itself decides, beside those that an instance reports. */
export type RecordedExitReason =
  | ExitReason
  | "stop-requested"
  | "fenced"
  | "lease-lost"
  | "boot-deadline"
  | "unhealthy"
  | "start-failed"
  | "image-refused"
  | "disk-missing"
  | "driver-unsupported";

export interface ExitRecord {
  readonly reason: RecordedExitReason;
  readonly message: string;
  readonly fencingEpoch: number;
  readonly unixMs: number;
}

/** What an instance was given that has to be known after its manager went away. */
export interface RecordedConfinement {
  /** The user of the VM, which it keeps over all its starts; null: the manager's. */
  readonly uid: number | null;
  /** Directories of the control groups of its last start, which are removed when it ended. */
  readonly controlGroups: readonly string[];
}

export interface InstanceRecord {
  readonly format: 1;
  readonly vmId: string;
  readonly name: string;
  /** What the cluster wanted last. */
  readonly desired: VmDesired;
  /** `starting`: a process may exist, its identity was not written yet; `started`: `handle` names it. */
  readonly status: "none" | "starting" | "started";
  readonly fencingEpoch: number;
  readonly generation: number;
  readonly driver: DriverKind | null;
  readonly handle: InstanceHandle | null;
  readonly machine: string | null;
  /** Length of the whole console output when this generation started. */
  readonly consoleStartOffset: number;
  /** Directory of the sockets of this generation. */
  readonly runDirectory: string;
  readonly exit: ExitRecord | null;
  /** The last ends, the newest last. Absent in records of releases that kept none. */
  readonly ends?: readonly VmEnd[];
  readonly restarts: number;
  /** Ends without a stable run between them. */
  readonly failures: number;
  /** It keeps data on a disk here, which only its deletion removes. */
  readonly hasDisk: boolean;
  /** The disks that were made here. Absent in records of releases that made no other than the root. */
  readonly disks?: readonly MadeDisk[];
  /** Absent in records of releases that confined nothing. */
  readonly confinement?: RecordedConfinement;
  /** The network cards of its last start. Absent in records of releases that gave none. */
  readonly nics?: readonly Nic[];
  /** What of its specification its last start was given. Absent in records of releases that did not change it. */
  readonly startedWith?: StartedWith;
}

/** The record of a VM that this node never started. */
export function newInstanceRecord(
  vm: { readonly vmId: string; readonly name: string; readonly desired: VmDesired; readonly fencingEpoch: number },
  runDirectory: string,
): InstanceRecord {
  return {
    format: 1,
    vmId: vm.vmId,
    name: vm.name,
    desired: vm.desired,
    status: "none",
    fencingEpoch: vm.fencingEpoch,
    generation: 0,
    driver: null,
    handle: null,
    machine: null,
    consoleStartOffset: 0,
    runDirectory,
    exit: null,
    restarts: 0,
    failures: 0,
    hasDisk: false,
  };
}

/** The record before the process of a new generation is spawned. */
export function recordOfStart(
  before: InstanceRecord,
  start: {
    readonly fencingEpoch: number;
    readonly driver: DriverKind;
    readonly consoleStartOffset: number;
    readonly runDirectory: string;
    readonly hasDisk: boolean;
    readonly disks: readonly MadeDisk[];
    readonly confinement: RecordedConfinement;
    readonly nics: readonly Nic[];
    readonly startedWith: StartedWith;
  },
): InstanceRecord {
  const sameEpoch = before.exit !== null && before.exit.fencingEpoch === start.fencingEpoch;
  return {
    ...before,
    ...start,
    status: "starting",
    generation: before.generation + 1,
    handle: null,
    restarts: sameEpoch ? before.restarts + 1 : 0,
    failures: sameEpoch ? before.failures : 0,
    hasDisk: before.hasDisk || start.hasDisk,
  };
}

export interface InstanceEnd {
  readonly reason: RecordedExitReason | undefined;
  readonly message: string;
  readonly stoppedBy: VmEnd["stoppedBy"];
  /** The run was long enough to forget earlier failures. */
  readonly stable: boolean;
  readonly unixMs: number;
}

/** The record of an instance whose process is gone. Without a reason its start was interrupted: that is no end. */
export function recordOfEnd(record: InstanceRecord, end: InstanceEnd): InstanceRecord {
  const { reason, message, stable, stoppedBy, unixMs } = end;
  const over = { ...record, status: "none", handle: null } as const;
  if (reason === undefined) return over;
  const requested = reason === "stop-requested" || reason === "fenced" || reason === "lease-lost";
  // A boot of the host is no failure of the VM.
  const more = reason === "host-reboot" ? 0 : 1;
  const failures = requested ? 0 : (stable ? 0 : record.failures) + more;
  const { fencingEpoch, ends = [] } = record;
  const short = message.slice(0, limits.vmEndMessageLengthMax);
  const last: VmEnd = { unixMs, reason, message: short, stoppedBy, fencingEpoch };
  return {
    ...over,
    failures,
    exit: { reason, message, fencingEpoch, unixMs },
    ends: [...ends, last].slice(-limits.vmEndsMax),
  };
}
