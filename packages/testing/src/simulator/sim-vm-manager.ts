/** A VM manager whose VMs are entries of a list. Like real ones they outlive the process that started them. */
import { BlixardError, Watch, WatchedMap } from "@blixard/common";
import type { ImageRecord, NodeCapacity, VmObservation, VmPhase, VolumeObservation } from "@blixard/protocol";
import type { DesiredVm, VmLeases, VmManager } from "@blixard/vm-manager";
import type { SimProcess } from "./sim-process.ts";
import type { VirtualTime } from "./virtual-time.ts";

export const simImage: ImageRecord = {
  name: "demo",
  format: "multiboot",
  builtin: true,
  blobs: [{ role: "kernel", digest: "0".repeat(64), sizeBytes: 1_024 }],
  commandLine: "",
  minMemoryMiB: 8,
  sources: [],
  createdUnixMs: 0,
};

interface Instance {
  readonly vmId: string;
  readonly fencingEpoch: number;
  readonly needsLease: boolean;
  readonly memoryMiB: number;
}

/**
 * Every VM that runs anywhere: what an observer with eyes in all machines sees. One on a machine that sleeps does not run, and
 * does so again from the moment at which the machine wakes up and its watchdog has looked.
 */
export class VmRegistry {
  readonly #onTwice: (vmId: string, nodeIds: readonly number[]) => void;
  readonly #onRestless: (vmId: string, epochs: number) => void;
  /** The first of the epochs in which each VM was wanted somewhere of late, and when that was. */
  readonly #wanted = new Map<string, { readonly epoch: number; readonly atMs: number }>();
  readonly #hosts = new Map<string, Set<VmHost>>();
  /** Where each VM was started last; how often that was another machine than the time before. */
  readonly #last = new Map<string, number>();
  moves = 0;

  constructor(
    onTwice: (vmId: string, nodeIds: readonly number[]) => void,
    onRestless: (vmId: string, epochs: number) => void,
  ) {
    this.#onTwice = onTwice;
    this.#onRestless = onRestless;
  }

  /** A node wants the VM in this epoch. Each move is one, and so is each time that somebody stops and starts it. */
  wanted(vmId: string, epoch: number, nowMs: number): void {
    const first = this.#wanted.get(vmId);
    if (first === undefined || nowMs - first.atMs > restlessMs) this.#wanted.set(vmId, { epoch, atMs: nowMs });
    else if (epoch - first.epoch > restlessEpochs) this.#onRestless(vmId, epoch - first.epoch);
  }

  started(vmId: string, host: VmHost): void {
    const last = this.#last.get(vmId);
    if (last !== undefined && last !== host.nodeId) this.moves++;
    this.#last.set(vmId, host.nodeId);
    this.#hosts.set(vmId, (this.#hosts.get(vmId) ?? new Set()).add(host));
    this.look(vmId);
  }

  stopped(vmId: string, host: VmHost): void {
    this.#hosts.get(vmId)?.delete(host);
  }

  look(vmId: string): void {
    const on = [...(this.#hosts.get(vmId) ?? [])].filter(({ isAsleep }) => !isAsleep);
    if (on.length > 1)
      this.#onTwice(
        vmId,
        on.map(({ nodeId }) => nodeId),
      );
  }
}

/** More epochs than there is reason for in this time. */
const restlessMs = 1_000;
const restlessEpochs = 12;

/** How often the watchdog of a machine looks. */
const watchdogMs = 100;

/** The VMs of one machine, and its watchdog: what outlives a process of the node. */
export class VmHost {
  readonly nodeId: number;
  readonly #registry: VmRegistry;
  readonly #time: VirtualTime;
  readonly #clockRate: number;
  readonly instances = new Map<string, Instance>();
  #process: SimProcess | undefined;
  #leaseUntilMs = 0;
  #looking = false;
  #wasAsleep = false;

  constructor(nodeId: number, registry: VmRegistry, time: VirtualTime, clockRate: number) {
    this.nodeId = nodeId;
    this.#clockRate = clockRate;
    this.#registry = registry;
    this.#time = time;
  }

  /** The process of the node that runs now, or ran last: it shows whether the machine sleeps. */
  set process(process: SimProcess) {
    this.#process = process;
  }

  /** The machine sleeps, or its watchdog has not looked since it woke up. */
  get isAsleep(): boolean {
    return this.#wasAsleep || this.#sleeps;
  }

  get #sleeps(): boolean {
    return this.#process?.asleep === true && this.#process.alive;
  }

  /** The clock that goes on while the machine sleeps. It is a little fast or slow. */
  nowMs(): number {
    return this.#time.nowMs * this.#clockRate;
  }

  get hasLease(): boolean {
    return this.nowMs() < this.#leaseUntilMs;
  }

  wants({ vmId, fencingEpoch }: DesiredVm): void {
    this.#registry.wanted(vmId, fencingEpoch, this.#time.nowMs);
  }

  extend(untilMs: number): void {
    this.#leaseUntilMs = Math.max(untilMs, this.#leaseUntilMs);
  }

  limit(untilMs: number): void {
    this.#leaseUntilMs = Math.min(untilMs, this.#leaseUntilMs);
  }

  start(instance: Instance): void {
    if (instance.needsLease && !this.hasLease) return;
    this.instances.set(instance.vmId, instance);
    this.#registry.started(instance.vmId, this);
    this.#watch();
  }

  /** The watchdog: it stands still only with its machine, and looks first when that wakes up. */
  #watch(): void {
    if (this.#looking) return;
    this.#looking = true;
    this.#time.after(watchdogMs, this.nodeId, () => {
      this.#looking = false;
      this.#look();
      if (this.instances.size > 0) this.#watch();
    });
  }

  #look(): void {
    const wakesUp = this.#wasAsleep;
    this.#wasAsleep = this.#sleeps;
    if (this.#wasAsleep) return;
    for (const { vmId, needsLease } of [...this.instances.values()]) {
      if (needsLease && !this.hasLease) this.stop(vmId);
      else if (wakesUp) this.#registry.look(vmId);
    }
  }

  stop(vmId: string): void {
    if (this.instances.delete(vmId)) this.#registry.stopped(vmId, this);
  }

  /** The machine lost its power. */
  stopAll(): void {
    for (const vmId of [...this.instances.keys()]) this.stop(vmId);
  }
}

const capacity: NodeCapacity = { vcpus: 8, memoryMiB: 8_192, drivers: ["fake"] };
const startDelayMs = 150;

export class SimVmManager implements VmManager {
  readonly observations = new WatchedMap<VmObservation>();
  /** Nobody makes volumes here. */
  readonly volumeObservations = new Watch<ReadonlyMap<string, VolumeObservation>>(new Map());
  readonly builtinImages = [simImage];
  readonly capacity = capacity;
  readonly diskRoom = new Watch<NodeCapacity["disk"]>(undefined);
  readonly #host: VmHost;
  readonly #process: SimProcess;
  #desired: readonly DesiredVm[] = [];

  readonly leases: VmLeases;

  readonly #onDesired: () => void;

  /** `onDesired` is told whenever the node says which VMs it wants. */
  constructor(host: VmHost, process: SimProcess, onDesired: () => void = () => {}) {
    this.#host = host;
    this.#onDesired = onDesired;
    this.#process = process;
    host.process = process;
    this.leases = {
      nowMs: () => host.nowMs(),
      unguarded: async () => undefined,
      extend: async (untilMs) => {
        host.extend(untilMs);
        if (host.hasLease) this.#startWanted();
      },
      limit: async (untilMs) => host.limit(untilMs),
    };
  }

  /** What waited for the lease, or was ended for want of it. */
  #startWanted(): void {
    const waits = ({ vmId, desired }: DesiredVm) => desired === "running" && !this.#host.instances.has(vmId);
    if (this.#desired.some(waits)) this.#pursue(this.#desired);
  }

  connectGuest(): never {
    throw new BlixardError("UNSUPPORTED", "these VMs have no networks");
  }

  async networkStateOf(): Promise<[]> {
    return [];
  }

  agentOf(): never {
    throw new BlixardError("UNSUPPORTED", "these VMs have no agent");
  }

  setVolumes(): void {}

  setNetworks(): void {}

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

  setDesired(vms: readonly DesiredVm[]): void {
    this.#onDesired();
    this.#pursue(vms);
  }

  #pursue(vms: readonly DesiredVm[]): void {
    this.#desired = vms;
    for (const vm of vms) {
      this.#host.wants(vm);
      const running = this.#host.instances.get(vm.vmId);
      if (running !== undefined && (vm.desired !== "running" || running.fencingEpoch < vm.fencingEpoch)) {
        this.#host.stop(vm.vmId);
      }
      if (vm.desired === "running" && !this.#host.instances.has(vm.vmId)) {
        this.#process.after(startDelayMs, () => this.#start(vm));
      }
    }
    const wanted = new Set(vms.map(({ vmId }) => vmId));
    for (const vmId of [...this.#host.instances.keys()]) if (!wanted.has(vmId)) this.#host.stop(vmId);
    this.#observe();
  }

  /** The wish may have changed while the machine got ready. */
  #start({ vmId, fencingEpoch, needsLease = false, spec }: DesiredVm): void {
    const now = this.#desired.find((vm) => vm.vmId === vmId);
    if (now?.desired !== "running" || now.fencingEpoch !== fencingEpoch || this.#host.instances.has(vmId)) return;
    this.#host.start({ vmId, fencingEpoch, needsLease, memoryMiB: spec.memoryMiB });
    this.#observe();
  }

  #observe(): void {
    const next = new Map<string, VmObservation>();
    for (const vm of this.#desired) next.set(vm.vmId, this.#observationOf(vm));
    this.observations.replace(next);
  }

  #observationOf(vm: DesiredVm): VmObservation {
    const instance = this.#host.instances.get(vm.vmId);
    const runs = instance !== undefined;
    const phases: Record<DesiredVm["desired"], VmPhase> = {
      running: runs ? "Running" : "Starting",
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
      driver: runs ? "fake" : null,
      guest: runs ? "ready" : "none",
      restarts: 0,
      observedUnixMs: this.#process.clock.unixMs(),
      ...(instance === undefined ? {} : { startedWith: startedWith(instance) }),
    };
  }

  readConsole(): Promise<never> {
    return Promise.reject(new BlixardError("UNSUPPORTED", "simulated VMs write nothing"));
  }

  writeConsole(): Promise<void> {
    return Promise.resolve();
  }

  readonly images: VmManager["images"] = {
    put: () => Promise.reject(new BlixardError("UNSUPPORTED", "this store holds nothing")),
    fetchUrl: () => Promise.reject(new BlixardError("UNSUPPORTED", "this store holds nothing")),
    has: () => Promise.resolve(false),
    find: () => Promise.resolve(undefined),
    held: new Watch<ReadonlySet<string>>(new Set()),
    stat: () => Promise.resolve({ isWhole: false, storedBytes: 0 }),
    inspect: (_format, blobs) => Promise.resolve([...blobs]),
    ensure: () => Promise.reject(new BlixardError("UNAVAILABLE", "simulated nodes give no blobs")),
    collect: () => Promise.resolve([]),
  };

  async close({ stopVms = false }: { readonly stopVms?: boolean } = {}): Promise<void> {
    if (stopVms) this.#host.stopAll();
  }
}

function startedWith({ needsLease, memoryMiB }: Instance): NonNullable<VmObservation["startedWith"]> {
  return { vcpus: 1, memoryMiB, onPartition: needsLease ? "stop" : "keep" };
}
