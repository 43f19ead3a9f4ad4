/** The VMs of one node: the set that the cluster wants, one machine per VM, and what was observed. */
import { mkdir } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { abortReason, BlixardError, Semaphore, sleep, Watch } from "@blixard/common";
import { limits, type NodeCapacity, nodeCapacitySchema, type VmObservation } from "@blixard/protocol";
import { type DataDirLock, lockDataDir } from "./data-dir-lock.ts";
import { DriverSet } from "./driver-set.ts";
import { EmbeddedDriver } from "./embedded/embedded-driver.ts";
import { FakeDriver } from "./fake/fake-driver.ts";
import { builtinImages, nanoGuest } from "./images/builtin-images.ts";
import { ImageStore } from "./images/image-store.ts";
import { InstanceStore } from "./instance-store.ts";
import { bindVmMetrics } from "./metrics.ts";
import { defaultTunables, type VmManagerTunables } from "./options.ts";
import { QemuDriver } from "./qemu/qemu-driver.ts";
import { makeRunDirectory, makeUserDirectory } from "./run-directory.ts";
import { VmMachine, type VmMachineDeps } from "./vm-machine.ts";
import type { ConsolePiece, DesiredVm, VmManager, VmManagerDeps, VmManagerOptions } from "./vm-manager-types.ts";

const consolePollMs = 40;
const bytesPerMiB = 1024 * 1024;
/** Part of the host's memory that is left to the host and to the processes around the guests. */
const hostMemoryShare = 0.1;

/** Makes a manager; it does nothing until `start`. */
export function createVmManager(deps: VmManagerDeps, options: VmManagerOptions): VmManager {
  // Each VM's process has a working directory of its own, so every path that it is given is absolute from here on.
  return new NodeVmManager(deps, { ...options, dataDir: resolve(options.dataDir) });
}

class NodeVmManager implements VmManager {
  readonly builtinImages = builtinImages;
  readonly observations = new Watch<ReadonlyMap<string, VmObservation>>(new Map());
  readonly images: ImageStore;
  readonly #deps: VmManagerDeps;
  readonly #options: VmManagerOptions;
  readonly #tunables: VmManagerTunables;
  readonly #machines = new Map<string, VmMachine>();
  #machineDeps: VmMachineDeps | undefined;
  #lock: DataDirLock | undefined;
  #desired: readonly DesiredVm[] | undefined;
  #closed = false;

  constructor(deps: VmManagerDeps, options: VmManagerOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#tunables = { ...defaultTunables, ...options.tunables };
    this.images = new ImageStore(join(options.dataDir, "images"), deps);
  }

  async start(): Promise<NodeCapacity> {
    const { dataDir } = this.#options;
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    this.#lock = await lockDataDir(dataDir);
    try {
      return await this.#open();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  setDesired(vms: readonly DesiredVm[]): void {
    this.#desired = vms;
    if (this.#machineDeps !== undefined && !this.#closed) this.#applyDesired(this.#machineDeps, vms);
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
    const { clock } = this.#deps;
    const machine = this.#machineOf(vmId);
    const bytesMax = Math.min(options.bytesMax, limits.consoleReadBytesMax);
    const untilMs = clock.monotonicMs() + Math.min(options.waitMs, limits.consoleReadWaitMsMax);
    for (;;) {
      if (options.signal?.aborted) throw abortReason(options.signal);
      const piece = await machine.console.read(options.offset, bytesMax);
      const leftMs = untilMs - clock.monotonicMs();
      if (piece.data.length > 0 || leftMs <= 0 || this.#closed) return piece;
      await sleep(clock, Math.min(consolePollMs, leftMs), options.signal);
    }
  }

  async writeConsole(vmId: string, data: Uint8Array): Promise<void> {
    await this.#machineOf(vmId).writeConsole(data);
  }

  async close(options: { readonly stopVms?: boolean } = {}): Promise<void> {
    this.#closed = true;
    const machines = [...this.#machines.values()];
    await Promise.all(machines.map((machine) => machine.close({ stopVms: options.stopVms === true })));
    this.#machines.clear();
    await this.#lock?.release();
    this.#lock = undefined;
  }

  async #open(): Promise<NodeCapacity> {
    const { dataDir, driver } = this.#options;
    await this.images.open();
    await this.images.put(oneChunk(nanoGuest));
    const drivers = new DriverSet(await this.#makeDrivers(), this.#deps.logger);
    const capabilities = await drivers.probe(driver);
    const store = new InstanceStore(join(dataDir, "instances"), await makeRunDirectory(dataDir), this.#deps.logger);
    const machineDeps = this.#makeMachineDeps(drivers, store);
    const records = await store.load();
    const machines = records.map((record) => new VmMachine(machineDeps, record.vmId));
    for (const machine of machines) this.#machines.set(machine.vmId, machine);
    await Promise.all(machines.map((machine) => machine.start()));
    this.#machineDeps = machineDeps;
    if (this.#desired !== undefined) this.#applyDesired(machineDeps, this.#desired);
    const memoryMiB = Math.floor((hostMemoryBytes() * (1 - hostMemoryShare)) / bytesPerMiB);
    const kinds = capabilities.map(({ kind }) => kind);
    // As the record keeps it: a driver of somebody else may declare more.
    return nodeCapacitySchema.parse({ vcpus: availableParallelism(), memoryMiB, drivers: kinds, capabilities });
  }

  async #makeDrivers() {
    const { clock } = this.#deps;
    const { startDeadlineMs } = this.#tunables;
    // Facts about this boot of the host are shared by the nodes of this user.
    const cacheDirectory = await makeUserDirectory();
    return [
      new QemuDriver({ clock }, { startDeadlineMs, cacheDirectory }),
      new EmbeddedDriver({ clock }, { startDeadlineMs }),
      new FakeDriver(),
    ];
  }

  #makeMachineDeps(drivers: DriverSet, store: InstanceStore): VmMachineDeps {
    const { clock, logger } = this.#deps;
    return {
      clock,
      logger,
      store,
      images: this.images,
      drivers,
      starts: new Semaphore(availableParallelism()),
      tunables: this.#tunables,
      metrics: bindVmMetrics(this.#deps.metrics),
      publish: (observation) => this.observations.update((seen) => new Map(seen).set(observation.vmId, observation)),
      forget: (vmId) => this.#forget(vmId),
    };
  }

  #applyDesired(machineDeps: VmMachineDeps, vms: readonly DesiredVm[]): void {
    const wanted = new Map(vms.map((vm) => [vm.vmId, vm]));
    for (const [vmId, machine] of this.#machines) if (!wanted.has(vmId)) machine.setDesired(undefined);
    for (const vm of wanted.values()) {
      const known = this.#machines.get(vm.vmId);
      if (known !== undefined) {
        known.setDesired(vm);
        continue;
      }
      const machine = new VmMachine(machineDeps, vm.vmId);
      this.#machines.set(vm.vmId, machine);
      machine.setDesired(vm);
      void machine.start();
    }
  }

  /** The machine ended its loop because nothing of the VM is left here. */
  #forget(vmId: string): void {
    this.#machines.delete(vmId);
    this.observations.update((seen) => {
      const left = new Map(seen);
      left.delete(vmId);
      return left;
    });
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

/** The memory of the host, or of the control group that this process lives in when that is less. */
function hostMemoryBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained !== undefined && constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
