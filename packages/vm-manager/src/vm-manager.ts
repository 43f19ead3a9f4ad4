/** The VMs of one node: the set that the cluster wants, one machine per VM, and what was observed. */
import { mkdir } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { abortReason, BlixardError, type Clock, Semaphore, sleep, WatchedMap } from "@blixard/common";
import {
  type CardState,
  disksOf,
  limits,
  type NodeCapacity,
  nodeCapacitySchema,
  type VmObservation,
} from "@blixard/protocol";
import type { ConfinementReport } from "./confinement/host-confinement.ts";
import { VmWalls } from "./confinement/vm-walls.ts";
import { type DataDirLock, lockDataDir } from "./data-dir-lock.ts";
import { DiskCopies, openDiskPart } from "./disks/disk-copies.ts";
import type { CopiedAs, CopyOptions, CopyRunning } from "./disks/running-volume.ts";
import { DriverSet } from "./driver-set.ts";
import { builtinBlobs, builtinImages } from "./images/builtin-images.ts";
import { ImageStore } from "./images/image-store.ts";
import type { InstanceRecord } from "./instance-record.ts";
import { InstanceStore } from "./instance-store.ts";
import { bindVmMetrics, type VmMetrics } from "./metrics.ts";
import type { NetworksOfNode } from "./network/private/network-table.ts";
import type { GuestStream } from "./network/tcp/guest-stream.ts";
import { type GuestPlace, type NetworkLane, VmNetworks } from "./network/vm-networks.ts";
import { defaultTunables, type VmManagerTunables } from "./options.ts";
import { findVmProcesses } from "./process/find-processes.ts";
import { makeRunDirectory } from "./run-directory.ts";
import { DiskRoom } from "./space/disk-room.ts";
import { SpaceGuard } from "./space/space-guard.ts";
import { type StartPlace, StartTurns } from "./start-turns.ts";
import { VmMachine, type VmMachineDeps } from "./vm-machine.ts";
import type {
  ConsolePiece,
  DesiredVm,
  HostVmManager,
  VmAgent,
  VmManagerDeps,
  VmManagerOptions,
} from "./vm-manager-types.ts";
import { type DesiredVolume, type VolumeBytes, VolumeKeeper } from "./volumes/volume-keeper.ts";
import { LeaseGuard } from "./watchdog/lease-guard.ts";

const consolePollMs = 40;
const bytesPerMiB = 1024 * 1024;
/** Part of the host's memory that is left to the host and to the processes around the guests. */
const hostMemoryShare = 0.1;

/**
 * Probes the drivers and adopts the instances that still run. Resolves with a manager that works; it starts and stops
 * no VM before `setDesired`.
 * @throws DATA_DIR_IN_USE, VM_DRIVER_FAILED
 */
export async function startVmManager(deps: VmManagerDeps, options: VmManagerOptions): Promise<HostVmManager> {
  // Each VM's process has a working directory of its own, so every path that it is given is absolute from here on.
  const dataDir = resolve(options.dataDir);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockDataDir(dataDir);
  try {
    const images = await ImageStore.open(join(dataDir, "images"), deps);
    // A manager starts on a file system that is full, too: it has VMs to look after.
    for (const [digest, blob] of builtinBlobs) if (!(await images.has(digest))) await images.put(oneChunk(blob));
    const found = await DriverSet.open(options, deps.logger);
    const store = new InstanceStore(join(dataDir, "instances"), await makeRunDirectory(dataDir));
    const tunables = { ...defaultTunables, ...options.tunables };
    const { clock, logger } = deps;
    const metrics = bindVmMetrics(deps.metrics);
    const networks = await VmNetworks.open(
      {
        clock,
        logger,
        runDirectory: store.runDirectory,
        metrics,
        carrier: options.carrier,
        bridges: options.bridges ?? [],
      },
      { tries: found.working.some(({ capabilities }) => capabilities.networks !== undefined) },
    );
    const drivers = found.withNetworks(networks.available);
    const leases = await LeaseGuard.open({ clock, logger, dataDir, runDirectory: store.runDirectory });
    const { vmIds, records } = await knownVms(store);
    const { confinement = {} } = options;
    const walls = await VmWalls.open(deps, { drivers: drivers.working, records, dataDir, confinement });
    const guard = await SpaceGuard.open({ clock, logger, directory: dataDir, reserve: options.reserve });
    const diskRoom = await DiskRoom.open({ clock, logger, directory: dataDir });
    const fetchDiskPart = deps.fetchDiskPart ?? (() => Promise.reject(new BlixardError("UNSUPPORTED", "no bulk lane")));
    const copies = new DiskCopies(join(dataDir, "incoming"), fetchDiskPart);
    let opened: NodeVmManager | undefined;
    const copyRunning: CopyRunning = async (...given) => await opened?.copyVolume(...given);
    const volumes = new VolumeKeeper({ clock, logger, copies, copyRunning }, join(dataDir, "volumes"));
    const parts = {
      ...deps,
      metrics,
      lock,
      images,
      copies,
      volumes,
      drivers,
      walls,
      leases,
      networks,
      guard,
      diskRoom,
      store,
      tunables,
    };
    const manager = new NodeVmManager(parts, vmIds);
    opened = manager;
    await manager.untilLooked();
    return manager;
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** The VMs of which there is anything here, and the records of them that can be read. */
async function knownVms(store: InstanceStore) {
  // A process whose directory is gone too belongs to this node, and to nobody else who could look after it.
  const running = (await findVmProcesses()).filter(({ vmId, directory }) => directory === store.directoryOf(vmId));
  const vmIds = [...new Set([...(await store.vmIds()), ...running.map(({ vmId }) => vmId)])];
  const records: InstanceRecord[] = [];
  for (const vmId of vmIds) {
    const record = await store.find(vmId).catch(() => undefined);
    if (record !== undefined) records.push(record);
  }
  return { vmIds, records };
}

interface NodeVmManagerParts extends Omit<VmManagerDeps, "fetchBlob" | "fetchDiskPart" | "metrics"> {
  readonly metrics: VmMetrics;
  readonly lock: DataDirLock;
  readonly images: ImageStore;
  readonly copies: DiskCopies;
  readonly volumes: VolumeKeeper;
  readonly drivers: DriverSet;
  readonly walls: VmWalls;
  readonly leases: LeaseGuard;
  readonly networks: VmNetworks;
  readonly guard: SpaceGuard;
  readonly diskRoom: DiskRoom;
  readonly store: InstanceStore;
  readonly tunables: VmManagerTunables;
}

class NodeVmManager implements HostVmManager {
  readonly builtinImages = builtinImages;
  readonly observations = new WatchedMap<VmObservation>();
  readonly images: ImageStore;
  readonly #capacity: NodeCapacity;
  readonly #diskRoom: DiskRoom;
  readonly confinement: ConfinementReport;
  readonly leases: LeaseGuard;
  readonly #networks: VmNetworks;
  readonly #guard: SpaceGuard;
  readonly diskCopies: HostVmManager["diskCopies"];
  readonly #volumes: VolumeKeeper;
  readonly #clock: Clock;
  readonly #lock: DataDirLock;
  readonly #machineDeps: VmMachineDeps;
  readonly #machines: Map<string, VmMachine>;
  #given: readonly DesiredVm[] | undefined;
  #turnsGiven = false;
  readonly #closed = new AbortController();
  #closing: Promise<void> | undefined;

  /** `vmIds`: the VMs of which this node has anything. */
  constructor(parts: NodeVmManagerParts, vmIds: readonly string[]) {
    const { lock, images, guard, diskRoom, ...shared } = parts;
    this.#guard = guard;
    this.#volumes = parts.volumes;
    const { copies } = parts;
    this.diskCopies = {
      receive: (...given) => copies.receive(...given),
      keepOnly: (keys) => copies.keepOnly(keys),
      open: async (vmId, part, volumeFiles) => {
        const files = await this.#volumes.filesOf(volumeFiles);
        return await this.#machines.get(vmId)?.openDiskPart(part, files);
      },
      openVolume: async (part, volumeFiles) =>
        await openDiskPart("", [], part, await this.#volumes.filesOf(volumeFiles)),
    };
    this.images = images;
    this.#capacity = capacityOf(parts.drivers);
    this.#diskRoom = diskRoom;
    this.confinement = parts.walls.report;
    this.leases = parts.leases;
    this.#clock = parts.clock;
    this.#lock = lock;
    this.#machineDeps = {
      ...shared,
      images,
      space: guard.space,
      starts: new Semaphore(availableParallelism()),
      turns: new StartTurns(parts.clock),
      publish: (observation) => this.observations.set(observation.vmId, observation),
      forget: (vmId) => this.#forget(vmId),
    };
    this.#networks = parts.networks;
    void this.#followLease();
    void this.#followNetworks();
    void this.#followSpace();
    void this.#followVolumes();
    this.#machines = new Map(vmIds.map((vmId) => [vmId, new VmMachine(this.#machineDeps, vmId)]));
  }

  async #followLease(): Promise<void> {
    for await (const _ of this.leases.held.values({ signal: this.#closed.signal })) {
      for (const machine of this.#machines.values()) machine.leaseChanged();
    }
  }

  async #followNetworks(): Promise<void> {
    let before = this.#networks.problems.value;
    for await (const problems of this.#networks.problems.values({ signal: this.#closed.signal })) {
      for (const [vmId, machine] of this.#machines) {
        if (problems.get(vmId) !== before.get(vmId)) machine.networkChanged();
      }
      before = problems;
    }
  }

  async #followSpace(): Promise<void> {
    for await (const _ of this.#guard.space.values({ signal: this.#closed.signal })) {
      for (const machine of this.#machines.values()) machine.spaceChanged();
    }
  }

  async #followVolumes(): Promise<void> {
    for await (const _ of this.#volumes.observations.values({ signal: this.#closed.signal })) {
      for (const machine of this.#machines.values()) machine.volumesChanged();
    }
  }

  /** Resolves when every VM was looked for once. */
  async untilLooked(): Promise<void> {
    await Promise.all([...this.#machines.values()].map((machine) => machine.untilLooked()));
  }

  get capacity(): NodeCapacity {
    return { ...this.#capacity, disk: this.#diskRoom.facts.value };
  }

  get diskRoom(): HostVmManager["diskRoom"] {
    return this.#diskRoom.facts;
  }

  get volumeObservations(): VolumeKeeper["observations"] {
    return this.#volumes.observations;
  }

  get volumeBytes(): VolumeBytes {
    return this.#volumes.bytes;
  }

  setVolumes(volumes: readonly DesiredVolume[]): void {
    this.#volumes.setDesired(volumes);
  }

  setNetworks(networks: NetworksOfNode): void {
    this.#networks.setNetworks(networks);
  }

  get networkLane(): NetworkLane {
    return this.#networks;
  }

  setDesired(vms: readonly DesiredVm[]): void {
    if (this.#closing !== undefined) return;
    const { gone, next } = this.#changesTo(vms);
    if (next.some(({ spec, image }) => disksOf(spec, image).length > 0)) {
      this.#guard.want(() => [...this.#machines.values()].every((machine) => !machine.mayWrite));
    }
    const wanted = new Map(next.map((vm) => [vm.vmId, vm]));
    for (const vmId of gone) if (!wanted.has(vmId)) this.#machines.get(vmId)?.setDesired(undefined);
    for (const vm of wanted.values()) {
      const machine = this.#machines.get(vm.vmId);
      if (machine === undefined) this.#machines.set(vm.vmId, new VmMachine(this.#machineDeps, vm.vmId, vm));
      else machine.setDesired(vm);
    }
    if (!this.#turnsGiven) this.#giveTurns(vms);
    this.#turnsGiven = true;
  }

  /** The part of the list that is not as it was given before; the first time everything that is here may go. */
  #changesTo(vms: readonly DesiredVm[]): { readonly gone: Iterable<string>; readonly next: readonly DesiredVm[] } {
    const before = this.#given;
    this.#given = [...vms];
    if (before === undefined) return { gone: [...this.#machines.keys()], next: vms };
    let [from, end, endBefore] = [0, vms.length, before.length];
    while (from < end && from < endBefore && vms[from] === before[from]) from++;
    for (; end > from && endBefore > from && vms[end - 1] === before[endBefore - 1]; end--) endBefore--;
    return { gone: before.slice(from, endBefore).map(({ vmId }) => vmId), next: vms.slice(from, end) };
  }

  /** The machines have not acted yet on what they were told in this turn of the event loop. */
  #giveTurns(vms: readonly DesiredVm[]): void {
    if (vms.every(({ spec }) => spec.autostart === undefined)) return;
    const places = new Map<string, StartPlace>();
    for (const { vmId, spec } of vms) {
      const { order = Number.POSITIVE_INFINITY, delayMs = 0 } = spec.autostart ?? {};
      if (this.#machines.get(vmId)?.mayStart === true) places.set(vmId, { order, delayMs });
    }
    this.#machineDeps.turns.begin(places);
  }

  /** Copies a volume to another place while a VM runs with it; undefined when none does. */
  async copyVolume(volumeId: string, to: string, options: CopyOptions): Promise<CopiedAs | undefined> {
    for (const { vmId, spec, volumeIds } of this.#given ?? []) {
      const [volume] = [...(volumeIds ?? [])].find(([, id]) => id === volumeId) ?? [];
      const disk = volume === undefined ? undefined : spec.disks?.find((each) => each.volume === volume);
      if (disk !== undefined) return await this.#machines.get(vmId)?.copyVolume(disk.name, to, options);
    }
    return undefined;
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
    const clock = this.#clock;
    const machine = this.#machineOf(vmId);
    const bytesMax = Math.min(options.bytesMax, limits.consoleReadBytesMax);
    const untilMs = clock.monotonicMs() + Math.min(options.waitMs, limits.consoleReadWaitMsMax);
    for (;;) {
      if (options.signal?.aborted) throw abortReason(options.signal);
      const piece = await machine.console.read(options.offset, bytesMax);
      const leftMs = untilMs - clock.monotonicMs();
      if (piece.data.length > 0 || leftMs <= 0 || this.#closing !== undefined) return piece;
      await sleep(clock, Math.min(consolePollMs, leftMs), options.signal);
    }
  }

  async writeConsole(vmId: string, data: Uint8Array): Promise<void> {
    await this.#machineOf(vmId).writeConsole(data);
  }

  agentOf(vmId: string): VmAgent {
    return this.#machineOf(vmId).agent;
  }

  async connectGuest(vmId: string, place: GuestPlace, signal: AbortSignal): Promise<GuestStream> {
    this.#machineOf(vmId);
    return await this.#networks.connectGuest(vmId, place, signal);
  }

  async networkStateOf(vmId: string): Promise<readonly CardState[]> {
    this.#machineOf(vmId);
    return await this.#networks.stateOf(vmId);
  }

  close(options: { readonly stopVms?: boolean } = {}): Promise<void> {
    // Only once: after its release, the lock may be another manager's.
    this.#closing ??= this.#close(options.stopVms === true);
    return this.#closing;
  }

  async #close(stopVms: boolean): Promise<void> {
    await Promise.all([...this.#machines.values()].map((machine) => machine.close({ stopVms })));
    this.#machines.clear();
    this.#closed.abort();
    this.leases.close();
    await this.#networks.close();
    await this.#guard.close();
    await this.#diskRoom.close();
    await this.#volumes.close();
    await this.#lock.release();
  }

  /** The machine ended its loop because nothing of the VM is left here. */
  #forget(vmId: string): void {
    this.#machines.delete(vmId);
    this.observations.delete(vmId);
  }

  #machineOf(vmId: string): VmMachine {
    const machine = this.#machines.get(vmId);
    if (machine === undefined) throw new BlixardError("VM_NOT_FOUND", "this node does not run the VM");
    return machine;
  }
}

async function* oneChunk(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

function capacityOf({ working }: DriverSet): NodeCapacity {
  const memoryMiB = Math.floor((hostMemoryBytes() * (1 - hostMemoryShare)) / bytesPerMiB);
  // Only what the record keeps: a driver of somebody else may declare more.
  return nodeCapacitySchema.parse({
    vcpus: availableParallelism(),
    memoryMiB,
    drivers: working.map(({ kind }) => kind),
    capabilities: working.map(({ kind, capabilities }) => ({ kind, ...capabilities })),
  });
}

/** The memory of the host, or of the control group that this process lives in when that is less. */
function hostMemoryBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained !== undefined && constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
