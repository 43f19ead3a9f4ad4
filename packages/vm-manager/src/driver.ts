/**
 * The port between the VM manager and what really runs a VM. A driver starts instances and finds them again; all
 * decisions (restart, deadlines, stop ladder, fencing) are the manager's. The suite in `@blixard/vm-manager/testing`
 * states what a driver must do.
 */
import type { Watch } from "@blixard/common";
import type { DriverCapabilities, DriverKind, VmHotplug, VmSpec } from "@blixard/protocol";
import type { GuestAgent } from "./agent/guest-agent.ts";
import type { Nic } from "./network/nic.ts";

export type ProbeResult = WorkingDriver | { readonly works: false; readonly reason: string; readonly hint: string };

/** A driver that was tried on this host. */
export interface WorkingDriver {
  readonly works: true;
  /** The kinds that work here, best first. */
  readonly kinds: readonly DriverKind[];
  readonly version: string;
  /** What a person should know, such as why the better kind does not work. */
  readonly notes: readonly string[];
  /**
   * A command that works wherever the process of an instance would. The manager runs it as one of the users that VMs
   * get, and gives this driver's VMs none of them when it fails. Absent for a driver whose instances are no processes.
   */
  readonly trial?: Command;
  /**
   * Starts an instance; resolves when it runs and answers. When it fails, nothing of the instance is left.
   * @throws VM_DRIVER_FAILED, DEADLINE_EXCEEDED after `deadlineMs`
   */
  start(
    spec: InstanceSpec,
    options: { readonly deadlineMs: number; readonly signal?: AbortSignal },
  ): Promise<VmInstance>;
}

/** Where the guest comes from: absolute paths of verified files. */
export type BootSource =
  | { readonly type: "multiboot"; readonly kernelPath: string; readonly commandLine: string }
  | {
      readonly type: "linux";
      readonly kernelPath: string;
      readonly initrdPath: string | undefined;
      readonly commandLine: string;
    }
  /** From its disks and drives, as its firmware finds it. */
  | { readonly type: "disk" };

/** A disk as a file, with the format that it was made in. */
export interface AttachedDisk {
  /** The guest sees it as the serial number. */
  readonly name: string;
  readonly path: string;
  readonly format: "raw" | "qcow2";
  /** A VM that runs may have to let go of it. */
  readonly isRemovable?: boolean;
  /** What an overlay shows where nothing was written; nobody writes to it. */
  readonly base?: { readonly path: string; readonly format: "raw" | "qcow2" };
}

/** A CD-ROM drive, and the file that lies in it. */
export interface AttachedCdrom {
  readonly name: string;
  /** Undefined: nothing. */
  readonly path: string | undefined;
}

/** A program and what it is given; a program without a slash is looked up on the path. */
export interface Command {
  readonly program: string;
  readonly arguments: readonly string[];
  /** Made for it, and given to it as descriptors, before it loses its privileges. They go with it. Default: none. */
  readonly taps?: readonly Tap[];
}

/** A network interface of the host whose other end is a descriptor. */
export interface Tap {
  /** In the process that it is made for, where it takes the place of what was there. */
  readonly descriptor: number;
  readonly name: string;
  /** What it is plugged in. */
  readonly bridge: string;
  /** Of the card in the guest. */
  readonly mac: string;
}

/** The walls around the process of one instance, which `spawnInstance` puts up. */
export interface Confinement {
  /** User and group of the process; undefined: those of the manager. */
  readonly uid: number | undefined;
  /** Further groups of a process with a user of its own, such as that of /dev/kvm. */
  readonly groups: readonly number[];
  /** Path of setpriv; undefined: the process keeps the privileges of the manager. */
  readonly setpriv: string | undefined;
  /** Directories of the control groups that the process enters. */
  readonly controlGroups: readonly string[];
  /** The kernel ends the process together with this one, its parent: by setpriv at that path. Default: it outlives it. */
  readonly diesWith?: { readonly pid: number; readonly setpriv: string };
}

/** Starts the process of an instance. */
export type SpawnInstance = (
  command: Command,
  place: Pick<InstanceSpec, "vmId" | "paths" | "confinement" | "agent">,
) => Promise<{ readonly pid: number; readonly startTime: string }>;

/** All that a driver needs to start one instance. */
export interface InstanceSpec {
  readonly vmId: string;
  readonly name: string;
  readonly fencingEpoch: number;
  /** Counts the starts of this VM on this node; file names of one start carry it. */
  readonly generation: number;
  readonly driver: DriverKind;
  /** The specification of the VM, whole: a driver takes from it what it can give. */
  readonly vm: VmSpec;
  readonly boot: BootSource;
  /** In the order in which the guest sees them. */
  readonly disks: readonly AttachedDisk[];
  /** Default: none. */
  readonly cdroms?: readonly AttachedCdrom[];
  /** Names of disks and drives, in the order in which the firmware looks for what boots. Default: its first disk. */
  readonly bootOrder?: readonly string[];
  readonly paths: InstancePaths;
  /** What cloud-init is told: an ISO 9660 image. Default: none. */
  readonly seedPath?: string;
  /** It has a channel for an agent in its guest. Default: none. */
  readonly agent?: boolean;
  /** One for each network that it has. Default: none. */
  readonly nics?: readonly Nic[];
  /** How far its processors and its memory change while it runs. Default: they do not. */
  readonly hotplug?: VmHotplug;
  /** The machine type of an earlier start, so that the guest's hardware does not change under it. */
  readonly machine: string | undefined;
  readonly confinement: Confinement;
  /** Of a VM that ends with the lease of its node: the watchdog starts its process. Default: this process does. */
  readonly spawn?: SpawnInstance;
}

/**
 * Files of one instance, as absolute paths. The sockets stand in a short directory: a unix socket path has at most 107 bytes.
 * The process of an instance may have a user of its own, who reaches none of these paths. It is given the sockets as
 * descriptors, and has `directory` as its working directory, where it finds the other files by their names.
 */
export interface InstancePaths {
  readonly directory: string;
  readonly consoleLog: string;
  readonly pidFile: string;
  readonly stderrLog: string;
  /** QMP events, one JSON object per line, written by the instance itself even when no manager lives. */
  readonly journalIn: string;
  readonly journalOut: string;
  readonly controlSocket: string;
  readonly serialSocket: string;
  /** Of the agent in the guest, for instances that have one. */
  readonly agentSocket: string;
  /** One for each network card that it may have while it runs. */
  readonly networkSockets: readonly string[];
}

/** What is kept on disk to find an instance again. A pid alone is reused; with its start time it is unique per boot. */
export interface InstanceHandle {
  readonly driver: DriverKind;
  readonly pid: number;
  /** Field 22 of `/proc/<pid>/stat`; empty for an instance that is no process. */
  readonly startTime: string;
  readonly bootId: string;
  readonly machine: string;
  readonly driverVersion: string;
}

/** Why an instance ended or cannot go on. One term each; they stand in records and metrics. */
export type ExitReason =
  | "guest-shutdown"
  | "guest-reset"
  | "guest-panic"
  | "internal-error"
  | "host-signal"
  | "host-quit"
  | "process-lost"
  | "host-reboot"
  | "driver-closed";

/** Ends that the host, or somebody on it, brought about. */
export const endsOfHost: ReadonlySet<ExitReason> = new Set(["host-signal", "host-quit", "host-reboot"]);

export type InstanceState =
  | { readonly type: "running" }
  | { readonly type: "paused" }
  /** A disk failed. The guest stands still until it is told to go on, and then does again what failed. */
  | { readonly type: "io-error"; readonly noSpace: boolean; readonly message: string }
  /** The guest is over, but the process stays as a tombstone that can be read. */
  | { readonly type: "halted"; readonly reason: ExitReason }
  /** The process is there and has not said yet how it is: nobody may start a second one. */
  | { readonly type: "unknown"; readonly message: string }
  /** The process is there and does not answer any more; `last` is what it said before. Nobody may start a second one. */
  | { readonly type: "not-responding"; readonly last: "running" | "paused"; readonly message: string }
  | {
      readonly type: "ended";
      readonly reason: ExitReason;
      readonly message: string;
      /** What people should know beside the reason. */
      readonly note?: string;
    };

/** One running VM. Every method is idempotent; a method on an ended instance does nothing. */
export interface VmInstance {
  readonly handle: InstanceHandle;
  readonly state: Watch<InstanceState>;
  /** Grows with each piece of serial output that was seen; a hint to look at the console log. */
  readonly serialActivity: Watch<number>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Asks the guest to power off; it may ignore that. */
  requestPowerdown(): Promise<void>;
  /** Asks the instance's process to end at once; the guest is not asked. Never rejects: wait for the state `ended`. */
  quit(): Promise<void>;
  /** Sends a signal to the instance's process, only if it is still the same process. */
  kill(signal: "SIGTERM" | "SIGKILL"): void;
  writeConsole(data: Uint8Array): Promise<void>;
  /** Absent for an instance without a channel for one. */
  readonly agent?: GuestAgent;
  /** Absent for one whose disks are those of its start. */
  readonly disks?: InstanceDisks;
  /** Absent for one whose processors and memory are those of its start. */
  readonly size?: InstanceSize;
  /** Absent for one whose network cards are those of its start. */
  readonly nics?: InstanceNics;
  /** Lets go of the instance without ending it. */
  detach(): Promise<void>;
}

/** A network card in a process. */
export interface PluggedNic extends Nic {
  readonly slot: number;
}

/** The network cards of an instance that runs. */
export interface InstanceNics {
  /** Without their addresses, which no process knows. */
  list(): Promise<readonly PluggedNic[]>;
  /** @throws CONFLICT when no slot is free, or none has a tap in the bridge of the card */
  plug(nic: Nic): Promise<void>;
  /** Asks the guest to let go, and waits until it has. @throws DEADLINE_EXCEEDED, CONFLICT for a card that has no slot */
  unplug(nic: PluggedNic, signal: AbortSignal): Promise<void>;
}

/** A disk as the guest has it. */
export interface GuestDisk {
  readonly name: string;
  readonly sizeBytes: number;
}

/** 0: no limit. */
export interface DiskLimits {
  readonly iops: number;
  readonly bytesPerSecond: number;
}

export interface DiskCopyOptions {
  readonly signal: AbortSignal;
  /** Calls what it is given once, when the guest is as it is to be shown. */
  readonly atEnd: (finish: () => Promise<void>) => Promise<void>;
}

/** The disks of an instance that runs. */
export interface InstanceDisks {
  list(): Promise<readonly GuestDisk[]>;
  /** The file is named as it is seen from the directory of the instance. @throws CONFLICT when no slot is free */
  attach(disk: AttachedDisk): Promise<void>;
  /** Asks the guest to let go, and waits until it has. @throws DEADLINE_EXCEEDED, CONFLICT for a disk that has no slot */
  detach(name: string, signal: AbortSignal): Promise<void>;
  /** Never makes one smaller. */
  grow(name: string, sizeBytes: number): Promise<void>;
  /** What a guest may do with it in a second. */
  limit(name: string, limits: DiskLimits): Promise<void>;
  /**
   * Copies all that is on a disk into a file of its size, named as it is seen from the directory of the instance. `atEnd` is
   * given what ends the copy: what is on the disk then is in it. @throws STORAGE_FAILED
   */
  copy(disk: { readonly name: string; readonly file: string }, options: DiskCopyOptions): Promise<void>;
  /** Its CD-ROM drives, each with the file that lies in it, as it is seen from the directory of the instance. */
  cdroms(): Promise<readonly AttachedCdrom[]>;
  /** Takes out what lies in a drive, and puts in another file, or none. @throws CONFLICT when the guest has locked it */
  changeMedium(cdrom: AttachedCdrom): Promise<void>;
}

/** What a guest has of processors and memory. */
export interface GuestSize {
  readonly vcpus: number;
  readonly memoryMiB: number;
}

/** The size of an instance that runs. */
export interface InstanceSize {
  read(): Promise<GuestSize>;
  /** Resolves when it has so many. @throws DEADLINE_EXCEEDED when the guest keeps some, CONFLICT for more than there are places */
  setVcpus(vcpus: number, signal: AbortSignal): Promise<void>;
  /** Resolves when the guest has taken, or given back, what is wanted. @throws DEADLINE_EXCEEDED, CONFLICT */
  setMemory(memoryMiB: number, signal: AbortSignal): Promise<void>;
}

export interface VmDriver {
  /** One word for logs. */
  readonly name: string;
  /** Every kind that it may run on any host: an instance of one of them is found again by this driver. */
  readonly kinds: readonly DriverKind[];
  /** Its `bridges` are those of the node; an empty list here says that it can use them. */
  readonly capabilities: DriverCapabilities;
  /** Finds out what works here. Never rejects for something that is missing: the result says what, and what to do. */
  probe(): Promise<ProbeResult>;
  /**
   * Finds the instance of `handle`, or, without a handle (the manager died while it started one), whatever process was
   * started for these paths. Never starts one, and works on a driver that was not probed. An instance that is over is
   * returned in the state `ended`, with the reason that its journal tells.
   */
  adopt(kind: DriverKind, paths: InstancePaths, handle: InstanceHandle | undefined): Promise<VmInstance>;
}
