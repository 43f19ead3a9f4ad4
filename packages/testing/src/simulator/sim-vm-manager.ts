/** A VM manager whose VMs are entries of a list. Like real ones they outlive the process that started them. */
import { BlixardError, Watch } from "@blixard/common";
import type { ImageRecord, NodeCapacity, VmObservation, VmPhase } from "@blixard/protocol";
import type { DesiredVm, VmManager } from "@blixard/vm-manager";
import type { SimProcess } from "./sim-process.ts";

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
}

/** Every VM that runs anywhere: what an observer with eyes in all machines sees. */
export class VmRegistry {
  readonly #onTwice: (vmId: string, nodeIds: readonly number[]) => void;
  readonly #running = new Map<string, number[]>();

  constructor(onTwice: (vmId: string, nodeIds: readonly number[]) => void) {
    this.#onTwice = onTwice;
  }

  started(vmId: string, nodeId: number): void {
    const on = [...(this.#running.get(vmId) ?? []), nodeId];
    this.#running.set(vmId, on);
    if (on.length > 1) this.#onTwice(vmId, on);
  }

  stopped(vmId: string, nodeId: number): void {
    const on = [...(this.#running.get(vmId) ?? [])];
    const at = on.indexOf(nodeId);
    if (at >= 0) on.splice(at, 1);
    this.#running.set(vmId, on);
  }
}

/** The VMs of one machine: what outlives a process. */
export class VmHost {
  readonly nodeId: number;
  readonly #registry: VmRegistry;
  readonly instances = new Map<string, Instance>();

  constructor(nodeId: number, registry: VmRegistry) {
    this.nodeId = nodeId;
    this.#registry = registry;
  }

  start(instance: Instance): void {
    this.instances.set(instance.vmId, instance);
    this.#registry.started(instance.vmId, this.nodeId);
  }

  stop(vmId: string): void {
    if (this.instances.delete(vmId)) this.#registry.stopped(vmId, this.nodeId);
  }

  /** The machine lost its power. */
  stopAll(): void {
    for (const vmId of [...this.instances.keys()]) this.stop(vmId);
  }
}

const capacity: NodeCapacity = { vcpus: 8, memoryMiB: 8_192, drivers: ["fake"] };
const startDelayMs = 150;

export class SimVmManager implements VmManager {
  readonly observations = new Watch<ReadonlyMap<string, VmObservation>>(new Map());
  readonly builtinImages = [simImage];
  readonly capacity = capacity;
  readonly #host: VmHost;
  readonly #process: SimProcess;
  #desired: readonly DesiredVm[] = [];

  constructor(host: VmHost, process: SimProcess) {
    this.#host = host;
    this.#process = process;
  }

  setDesired(vms: readonly DesiredVm[]): void {
    this.#desired = vms;
    for (const vm of vms) {
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
  #start({ vmId, fencingEpoch }: DesiredVm): void {
    const now = this.#desired.find((vm) => vm.vmId === vmId);
    if (now?.desired !== "running" || now.fencingEpoch !== fencingEpoch || this.#host.instances.has(vmId)) return;
    this.#host.start({ vmId, fencingEpoch });
    this.#observe();
  }

  #observe(): void {
    const next = new Map<string, VmObservation>();
    for (const vm of this.#desired) next.set(vm.vmId, this.#observationOf(vm));
    this.observations.set(next);
  }

  #observationOf(vm: DesiredVm): VmObservation {
    const runs = this.#host.instances.has(vm.vmId);
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
    };
  }

  readConsole(): Promise<never> {
    return Promise.reject(new BlixardError("UNSUPPORTED", "simulated VMs write nothing"));
  }

  writeConsole(): Promise<void> {
    return Promise.resolve();
  }

  readonly images = {
    put: () => Promise.reject(new BlixardError("UNSUPPORTED", "this store holds nothing")),
    has: () => Promise.resolve(false),
    find: () => Promise.resolve(undefined),
  };

  async close({ stopVms = false }: { readonly stopVms?: boolean } = {}): Promise<void> {
    if (stopVms) this.#host.stopAll();
  }
}
