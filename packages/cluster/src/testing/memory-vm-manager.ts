/** A VM manager whose VMs start and stop at once, in memory: a double for tests of what stands above it. */
import { BlixardError, Watch, WatchedMap } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import {
  type ImageRecord,
  limits,
  type NodeCapacity,
  type StartedWith,
  type VmObservation,
  type VmPhase,
  type VolumeObservation,
} from "@blixard/protocol";
import type { ConsolePiece, DesiredVm, DesiredVolume, VmManager } from "@blixard/vm-manager";

export const demoImage: ImageRecord = {
  name: "demo",
  format: "multiboot",
  builtin: true,
  blobs: [{ role: "kernel", digest: "0".repeat(64), sizeBytes: 1_024 }],
  commandLine: "",
  minMemoryMiB: 8,
  sources: [],
  createdUnixMs: 0,
};

const fakeCapacity: NodeCapacity = {
  vcpus: 4,
  memoryMiB: 1_024,
  drivers: ["fake"],
  capabilities: [
    {
      kind: "fake",
      imageFormats: ["multiboot", "linux", "disk"],
      vcpusMax: limits.vmVcpusMax,
      memoryMiBMax: limits.vmMemoryMiBMax,
      networks: ["user", "private"],
      disks: true,
      cloudInit: true,
      agent: true,
    },
  ],
};

export class MemoryVmManager implements VmManager {
  readonly observations = new WatchedMap<VmObservation>();
  readonly builtinImages = [demoImage];
  readonly #capacity: NodeCapacity;
  readonly diskRoom: Watch<NodeCapacity["disk"]>;
  readonly #consoles = new Watch<ReadonlyMap<string, Uint8Array>>(new Map());
  /** What was asked for last; undefined before anything was. */
  desired: readonly DesiredVm[] | undefined;
  /** Until when VMs that need the lease of the node may run. */
  leaseUntilMs = 0;
  /** Why there is no watchdog; undefined: there is one. */
  whyUnguarded: string | undefined;
  /** Whether its last closing stopped the VMs. */
  wasStopped = false;

  readonly leases = {
    nowMs: () => systemClock.elapsedMs(),
    unguarded: async () => this.whyUnguarded,
    extend: async (untilMs: number) => {
      this.leaseUntilMs = Math.max(untilMs, this.leaseUntilMs);
    },
    limit: async (untilMs: number) => {
      this.leaseUntilMs = Math.min(untilMs, this.leaseUntilMs);
    },
  };

  constructor(capacity: NodeCapacity = fakeCapacity) {
    this.#capacity = capacity;
    this.diskRoom = new Watch(capacity.disk);
  }

  get capacity(): NodeCapacity {
    const disk = this.diskRoom.value;
    return { ...this.#capacity, ...(disk === undefined ? {} : { disk }) };
  }

  readonly volumeObservations = new Watch<ReadonlyMap<string, VolumeObservation>>(new Map());

  setNetworks(): void {}

  connectGuest(): never {
    throw new BlixardError("UNSUPPORTED", "these VMs have no networks");
  }

  async networkStateOf(): Promise<[]> {
    return [];
  }

  /** These VMs have no disks: a copy of them has come when it is asked for. */
  readonly diskCopies = {
    receive: async (): Promise<string[]> => [],
    keepOnly: async (): Promise<void> => {},
    open: async () => undefined,
    openVolume: async () => undefined,
  };

  readonly volumeBytes: VmManager["volumeBytes"] = {
    read: () => Promise.reject(new BlixardError("UNSUPPORTED", "these volumes hold nothing")),
    write: () => Promise.reject(new BlixardError("UNSUPPORTED", "these volumes hold nothing")),
    finish: () => Promise.reject(new BlixardError("UNSUPPORTED", "these volumes hold nothing")),
  };

  agentOf(): never {
    throw new BlixardError("UNSUPPORTED", "these VMs have no agent");
  }

  setVolumes(volumes: readonly DesiredVolume[]): void {
    this.volumeObservations.set(
      new Map(
        volumes.map(({ volumeId, epoch, sizeGiB, isDeleted }) => [
          volumeId,
          { volumeId, epoch, state: isDeleted ? "deleted" : "ready", sizeGiB },
        ]),
      ),
    );
  }

  setDesired(vms: readonly DesiredVm[]): void {
    this.desired = vms;
    const next = new Map<string, VmObservation>();
    for (const vm of vms) next.set(vm.vmId, observationOf(vm, this.observations.get(vm.vmId)));
    this.observations.replace(next);
  }

  async readConsole(
    vmId: string,
    options: {
      readonly offset: number;
      readonly bytesMax: number;
      readonly waitMs: number;
      readonly signal?: AbortSignal;
    },
  ): Promise<ConsolePiece> {
    const { bytesMax, waitMs, signal } = options;
    const all = () => this.#consoles.value.get(vmId) ?? new Uint8Array(0);
    const offset = options.offset < 0 ? Math.max(0, all().length + options.offset) : options.offset;
    const limit = { clock: systemClock, delayMs: waitMs };
    await this.#consoles.until(() => all().length > offset, { limit, ...(signal === undefined ? {} : { signal }) });
    return { offset, data: all().slice(offset, offset + bytesMax), endOffset: all().length };
  }

  async writeConsole(vmId: string, data: Uint8Array): Promise<void> {
    this.#consoles.update((all) => new Map(all).set(vmId, Uint8Array.from([...(all.get(vmId) ?? []), ...data])));
  }

  /** Stores nothing, and takes every blob that an image names for what it says. */
  readonly images: VmManager["images"] = {
    held: new Watch<ReadonlySet<string>>(new Set()),
    put: async () => {
      throw new BlixardError("UNSUPPORTED", "this store holds nothing");
    },
    fetchUrl: async () => {
      throw new BlixardError("UNSUPPORTED", "this store holds nothing");
    },
    has: async () => false,
    find: async () => undefined,
    stat: async () => ({ isWhole: false, storedBytes: 0 }),
    inspect: async (_format, blobs) => [...blobs],
    ensure: async ({ digest }) => {
      throw new BlixardError("UNAVAILABLE", `nobody gives the blob ${digest}`);
    },
    collect: async () => [],
  };

  async close({ stopVms = false }: { readonly stopVms?: boolean } = {}): Promise<void> {
    if (stopVms) this.setDesired([]);
    this.wasStopped = stopVms;
  }
}

function observationOf(vm: DesiredVm, before: VmObservation | undefined): VmObservation {
  const phases: Record<DesiredVm["desired"], VmPhase> = {
    running: "Running",
    stopped: "Stopped",
    paused: "Paused",
    deleted: "Deleted",
  };
  return {
    vmId: vm.vmId,
    fencingEpoch: vm.fencingEpoch,
    phase: phases[vm.desired],
    reason: "as-desired",
    message: "",
    driver: vm.desired === "running" ? "fake" : null,
    guest: vm.desired === "running" ? "ready" : "none",
    restarts: 0,
    observedUnixMs: 1,
    ...(vm.desired === "running" || vm.desired === "paused" ? { startedWith: startOf(vm, before) } : {}),
  };
}

/** What a process was started with stays, until it is another one: that of a later epoch. */
function startOf({ spec, needsLease, fencingEpoch }: DesiredVm, before: VmObservation | undefined): StartedWith {
  if (before?.startedWith !== undefined && before.fencingEpoch === fencingEpoch) return before.startedWith;
  return { vcpus: spec.vcpus, memoryMiB: spec.memoryMiB, onPartition: needsLease === true ? "stop" : "keep" };
}
