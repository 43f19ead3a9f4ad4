/**
 * The instance of one VM in the hands of its machine: what is recorded of it, what runs of it, and the actions that change
 * both. The machine (`vm-machine.ts`) decides and calls one at a time.
 */
import { isDeepStrictEqual } from "node:util";
import { BlixardError, type Clock, errorCodeOf, type Logger, messageOf, type Semaphore } from "@blixard/common";
import { bootOrderOf, rootDiskName } from "@blixard/protocol";
import { forgetFreeze } from "./agent/file-system-freeze.ts";
import { writeSeed } from "./cloud-init/seed.ts";
import type { VmWalls } from "./confinement/vm-walls.ts";
import { ConsoleLog } from "./console-log.ts";
import { ConsoleScan } from "./console-scan.ts";
import { prepareCdroms } from "./disks/cdrom-files.ts";
import { type DiskCopies, type DiskPart, openDiskPart } from "./disks/disk-copies.ts";
import { assertDisks, findVolumes, madeDisksOf, makeDisks } from "./disks/instance-disks.ts";
import { type CopiedAs, type CopyOptions, copyRunningVolume } from "./disks/running-volume.ts";
import { removeDisks } from "./disks/vm-disks.ts";
import { endsOfHost, type GuestSize, type InstanceSpec, type VmInstance } from "./driver.ts";
import type { ChosenDriver, DriverSet } from "./driver-set.ts";
import type { KnownInstance } from "./find-instance.ts";
import { checkRunner } from "./health/run-check.ts";
import type { ImageStore } from "./images/image-store.ts";
import { prepareBoot } from "./images/prepare-boot.ts";
import {
  type InstanceEnd,
  type InstanceRecord,
  newInstanceRecord,
  type RecordedExitReason,
  recordOfEnd,
  recordOfStart,
} from "./instance-record.ts";
import { InstanceSlot } from "./instance-slot.ts";
import type { InstanceStore } from "./instance-store.ts";
import { livePartsOf, startedWithOf } from "./live-parts.ts";
import type { VmMetrics } from "./metrics.ts";
import { type Nic, nicsOf, wantedNics } from "./network/nic.ts";
import { type NetworkProblem, networkProblemOf, portsOf } from "./network/ports-of.ts";
import type { VmNetworks } from "./network/vm-networks.ts";
import type { OpenBlob } from "./open-blob.ts";
import type { VmManagerTunables } from "./options.ts";
import { processAgeMs } from "./process/process-identity.ts";
import { type Activity, exitMessages, type PlanAction, type PlanDesired, restartDelayMs } from "./reconcile-plan.ts";
import { stopInstance } from "./stop-ladder.ts";
import type { DesiredVm } from "./vm-manager-types.ts";
import type { VolumeKeeper } from "./volumes/volume-keeper.ts";
import type { LeaseGuard } from "./watchdog/lease-guard.ts";

export interface InstanceKeeperDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly store: InstanceStore;
  readonly images: ImageStore;
  readonly copies: Pick<DiskCopies, "install" | "forget">;
  readonly volumes: Pick<VolumeKeeper, "find" | "take">;
  readonly drivers: DriverSet;
  readonly walls: VmWalls;
  readonly leases: Pick<LeaseGuard, "spawn" | "hasEnded" | "isHeld">;
  readonly networks: VmNetworks;
  /** Bounds the instances of this node that start at a time. */
  readonly starts: Semaphore;
  readonly tunables: VmManagerTunables;
  readonly metrics: VmMetrics;
}

/** How the keeper tells its machine. */
export interface KeeperCalls {
  /** The machine looks again. */
  readonly wake: () => void;
  /** What the keeper is busy with, for the observation. */
  readonly setActivity: (activity: Activity, message?: string) => void;
}

export class InstanceKeeper {
  readonly console: ConsoleLog;
  readonly #deps: InstanceKeeperDeps;
  readonly #vmId: string;
  readonly #logger: Logger;
  readonly #calls: KeeperCalls;
  #record: InstanceRecord | undefined;
  #removed = true;
  #slot: InstanceSlot | undefined;
  #notBeforeMs = 0;
  #installedEpoch: number | undefined;

  /** `logger` names the VM. */
  constructor(deps: InstanceKeeperDeps, vmId: string, logger: Logger, calls: KeeperCalls) {
    this.#deps = deps;
    this.#vmId = vmId;
    this.#logger = logger;
    this.#calls = calls;
    this.console = new ConsoleLog(deps.store.directoryOf(vmId), deps.tunables.consoleBytesMax);
  }

  get record(): InstanceRecord | undefined {
    return this.#record;
  }

  /** What runs; undefined when nothing does. */
  get slot(): InstanceSlot | undefined {
    return this.#slot;
  }

  /** True when nothing of the VM is left on the disk. */
  get removed(): boolean {
    return this.#removed;
  }

  /** What is wrong with the network of what runs. */
  networkProblem(desired: Pick<DesiredVm, "spec" | "cards"> | undefined): NetworkProblem | undefined {
    if (this.#slot === undefined || this.#record === undefined || desired === undefined) return undefined;
    const { missing, problems } = this.#deps.networks;
    const { nics } = this.#slot;
    return networkProblemOf(this.#record, desired, {
      missing: missing?.reason,
      problem: problems.value.get(this.#vmId),
      live: nics === undefined ? undefined : { problem: nics.view.value?.problem },
    });
  }

  /** Earliest time of the next start. */
  get notBeforeMs(): number {
    return this.#notBeforeMs;
  }

  /** Takes over what was found, and finds again what runs, or ran, by the record of its start. */
  async load({ record, leftovers }: KnownInstance): Promise<void> {
    this.#record = record;
    this.#removed = record === undefined && !leftovers;
    if (record !== undefined) await this.#adopt(record);
  }

  /** Puts the disks that have come from another node into their place, once; nothing runs here before that. */
  async install(desired: DesiredVm | undefined): Promise<void> {
    if (desired?.copyEpoch === undefined || desired.desired === "deleted" || this.#slot !== undefined) return;
    if (this.#installedEpoch === desired.copyEpoch) return;
    const { store, copies, volumes } = this.#deps;
    await store.makeDirectory(this.#vmId);
    const key = { vmId: this.#vmId, epoch: desired.copyEpoch };
    for (const volumeId of desired.volumeIds?.values() ?? [])
      if (volumeId !== undefined) await volumes.take(volumeId, key);
    const names = await copies.install(key, store.directoryOf(this.#vmId));
    if (names !== undefined) {
      const before = this.#recordFor(desired);
      const others = (before.disks ?? []).filter(({ name }) => !names.includes(name));
      const came = names.map((name) => ({ name, ephemeral: false, fencingEpoch: desired.fencingEpoch }));
      await this.#save({ ...before, hasDisk: before.hasDisk || came.length > 0, disks: [...others, ...came] });
      await copies.forget(key);
    }
    this.#installedEpoch = desired.copyEpoch;
  }

  /** A part of the disks and volumes that it keeps, while nothing of it runs. */
  async openDiskPart(part: DiskPart, volumes: ReadonlyMap<string, string>): Promise<OpenBlob | undefined> {
    const record = this.#record;
    if (this.#slot !== undefined || (record !== undefined && record.status !== "none")) return undefined;
    // Records of before know of no other disk than the root.
    const made = record?.disks?.filter(({ ephemeral }) => !ephemeral).map(({ name }) => name);
    const names = made ?? (record?.hasDisk === true ? [rootDiskName] : []);
    return await openDiskPart(this.#deps.store.directoryOf(this.#vmId), names, part, volumes);
  }

  /** Copies a volume that the process has as this disk to another place; undefined when nothing runs. */
  async copyVolume(name: string, to: string, options: CopyOptions): Promise<CopiedAs | undefined> {
    const { clock, store } = this.#deps;
    const place = { clock, directory: store.directoryOf(this.#vmId), uid: this.#record?.confinement?.uid ?? undefined };
    return this.#slot && (await copyRunningVolume({ ...place, slot: this.#slot }, { name, to }, options));
  }

  /** Brings what is recorded up to what is wanted and what the console shows. */
  async look(desired: PlanDesired | undefined): Promise<void> {
    const record = this.#record;
    if (record !== undefined && desired !== undefined && record.desired !== desired.desired) {
      // Wanted to run after it was wanted stopped: earlier ends do not count any more.
      const again = record.desired === "stopped" && desired.desired !== "deleted";
      await this.#save({ ...record, desired: desired.desired, ...(again ? { exit: null, failures: 0 } : {}) });
      if (again) this.#notBeforeMs = 0;
    }
    const slot = this.#slot;
    await this.#recordNics(slot?.nics?.view.value?.nics);
    this.#connectNics(desired?.spec === undefined ? undefined : desired);
    if (desired?.spec !== undefined) {
      slot?.health.want(desired.spec.health ?? []);
      slot?.disks?.want(desired);
      slot?.size?.want(desired.spec);
      slot?.nics?.want(wantedNics({ ...desired, vmId: this.#vmId }, this.#deps.networks.available, record?.nics));
    }
    await this.#recordSize(slot?.size?.view.value?.size);
    slot?.lookAtDisks(this.#deps.clock.monotonicMs());
    if (slot === undefined || slot.guestReady || this.#record === undefined) return;
    slot.guestReady = (await this.console.endOffset()) > this.#record.consoleStartOffset;
    // What was written while no manager looked has no later byte that would tell of it.
    if (slot.guestReady) await slot.scanConsole();
  }

  /** What it has by now counts as what it was started with. */
  async #recordSize(size: GuestSize | undefined): Promise<void> {
    const record = this.#record;
    if (size === undefined || record?.startedWith === undefined) return;
    const startedWith = { ...record.startedWith, ...size };
    if (!isDeepStrictEqual(startedWith, record.startedWith)) await this.#save({ ...record, startedWith });
  }

  /** Which socket leads to which card: by that the switch finds them, also after this manager. */
  async #recordNics(nics: readonly Nic[] | undefined): Promise<void> {
    const record = this.#record;
    if (nics === undefined || record === undefined || isDeepStrictEqual(nics, record.nics)) return;
    await this.#save({ ...record, nics });
  }

  /** Never rejects for a start that fails or that `signal` interrupts: nothing is left of it then. */
  async start(desired: DesiredVm, signal: AbortSignal): Promise<void> {
    const { clock, store, images, drivers, starts, metrics } = this.#deps;
    const startedMs = clock.monotonicMs();
    let refusal: RecordedExitReason = "driver-unsupported";
    try {
      this.#calls.setActivity("preparing");
      const chosen = drivers.choose(desired);
      refusal = "disk-missing";
      await store.makeDirectory(this.#vmId);
      await store.keepSpare(this.#vmId);
      await forgetFreeze(store.directoryOf(this.#vmId));
      const directory = store.directoryOf(this.#vmId);
      await assertDisks(directory, desired, this.#record);
      const volumes = await findVolumes(this.#deps.volumes, desired);
      refusal = "image-refused";
      const image = await prepareBoot(images, desired.image, signal);
      const disks = await makeDisks(directory, desired, this.#record, { imageDisk: image.disk, volumes });
      const cdroms = await prepareCdroms(images, desired, directory, signal);
      refusal = "start-failed";
      const seed = await this.#prepareSeed(desired);
      const files = { boot: image.boot, disks, cdroms, ...seed };
      await starts.run(() => this.#startProcess(desired, chosen, files, signal), signal);
      metrics.starts.add(1, { driver: chosen.kind });
      metrics.startDuration.observe((clock.monotonicMs() - startedMs) / 1_000);
    } catch (error) {
      const reason = finalCodes[refusal]?.includes(errorCodeOf(error)) === false ? "start-failed" : refusal;
      await this.#startFailed(desired, signal.aborted ? undefined : reason, messageOf(error));
    }
  }

  /** `asks`: there is somebody in the guest who may listen to the power button. */
  async stop(
    { reason, message, graceful }: Extract<PlanAction, { type: "stop" }>,
    options: { readonly asks: boolean; readonly signal: AbortSignal },
  ): Promise<void> {
    const { clock, tunables } = this.#deps;
    const slot = this.#slot;
    const record = this.#record;
    if (slot === undefined || record === undefined) return;
    this.#calls.setActivity("stopping", message);
    const failed = slot.instance.state.value.type === "io-error";
    // Nobody has the time to ask: it may be started elsewhere soon.
    if (reason === "lease-lost") slot.instance.kill("SIGKILL");
    const stoppedBy = await stopInstance(clock, slot.instance, {
      // A guest whose disk failed stands still, and does not hear.
      powerdownDeadlineMs: graceful && options.asks && !failed ? tunables.powerdownDeadlineMs : 0,
      quitDeadlineMs: tunables.quitDeadlineMs,
      agent: slot.agentView.value === undefined ? undefined : slot.instance.agent,
      signal: options.signal,
    });
    await this.#finish(record, { reason, message, stoppedBy, stable: this.#wasStable(slot) });
  }

  /** Clears away what is over. */
  async collect(signal: AbortSignal): Promise<void> {
    const { clock, tunables } = this.#deps;
    const slot = this.#slot;
    const record = this.#record;
    if (slot === undefined || record === undefined) return;
    const state = slot.instance.state.value;
    if (state.type !== "halted" && state.type !== "ended") return;
    this.#calls.setActivity("stopping", exitMessages[state.reason]);
    await stopInstance(clock, slot.instance, { ...tunables, powerdownDeadlineMs: 0, signal });
    const byWatchdog = state.reason === "process-lost" && (await this.#deps.leases.hasEnded(slot.instance.handle));
    const reason = byWatchdog ? "lease-lost" : state.reason;
    const stoppedBy = byWatchdog ? "sigkill" : endsOfHost.has(state.reason) ? "host" : "itself";
    const note = state.type === "ended" && state.note !== undefined ? `; ${state.note}` : "";
    const message = `${exitMessages[reason]}${note}`;
    await this.#finish(record, { reason, message, stoppedBy, stable: this.#wasStable(slot) });
  }

  async pause(): Promise<void> {
    await this.#slot?.instance.pause();
  }

  async resume(): Promise<void> {
    this.#slot?.beginBoot(this.#deps.clock.monotonicMs());
    await this.#slot?.instance.resume();
  }

  /** `deletes`: a disk that moved away or lost its owner by mistake is data: only a deletion removes it. */
  async remove(deletes: boolean): Promise<void> {
    this.#calls.setActivity("stopping", "removing its files");
    const record = this.#record;
    if (record?.hasDisk !== true || deletes) {
      await this.#deps.store.remove(this.#vmId);
      this.#deps.walls.forget(this.#vmId);
      this.console.reset();
      this.#record = undefined;
    } else if (record.disks?.some(({ ephemeral }) => ephemeral)) {
      const gone = record.disks.filter(({ ephemeral }) => ephemeral).map(({ name }) => name);
      await removeDisks(this.#deps.store.directoryOf(this.#vmId), gone);
      await this.#save({ ...record, disks: record.disks.filter(({ ephemeral }) => !ephemeral) });
    }
    this.#removed = true;
  }

  /** Lets go of what runs without ending it. */
  async detach(): Promise<void> {
    const slot = this.#slot;
    this.#slot = undefined;
    await slot?.detach();
  }

  /** @throws UNAVAILABLE while its user data cannot be opened here */
  async #prepareSeed({ vmId, name, spec, openUserData }: DesiredVm): Promise<Pick<InstanceSpec, "seedPath">> {
    const { cloudInit } = spec;
    if (cloudInit === undefined) return {};
    const userData = openUserData?.();
    if (openUserData !== undefined && userData === undefined) {
      throw new BlixardError("UNAVAILABLE", "its user data is not sealed to this node yet");
    }
    const directory = this.#deps.store.directoryOf(vmId);
    return { seedPath: await writeSeed(directory, { vmId, name, cloudInit, userData }) };
  }

  async #startProcess(
    desired: DesiredVm,
    chosen: ChosenDriver,
    files: Pick<InstanceSpec, "boot" | "disks" | "seedPath" | "cdroms">,
    signal: AbortSignal,
  ): Promise<void> {
    this.#calls.setActivity("starting");
    const { store, tunables, walls } = this.#deps;
    const before = this.#recordFor(desired);
    const { confinement, recorded } = await walls.confine(this.#vmId, chosen.kind, desired.spec);
    const { networks = [], bridges = [] } = chosen.capabilities;
    const nics = nicsOf(desired, { networks, bridges }).map((nic, slot) => ({ ...nic, slot }));
    const changesNics = this.#changesNics(desired, chosen);
    const record = recordOfStart(before, {
      fencingEpoch: desired.fencingEpoch,
      driver: chosen.kind,
      consoleStartOffset: await this.console.endOffset(),
      runDirectory: store.runDirectory,
      hasDisk: madeDisksOf(desired, before).some(({ ephemeral }) => !ephemeral),
      disks: madeDisksOf(desired, before),
      confinement: recorded,
      nics,
      startedWith: startedWithOf(desired, changesNics),
    });
    // Durable before the spawn: whatever happens next, a later manager knows where to look for a process.
    await this.#save(record);
    const paths = store.pathsOf(this.#vmId, record.generation, record.runDirectory);
    const instance = await chosen.start(
      {
        vmId: this.#vmId,
        name: desired.name,
        fencingEpoch: record.fencingEpoch,
        generation: record.generation,
        driver: chosen.kind,
        vm: desired.spec,
        ...files,
        bootOrder: bootOrderOf(desired.spec, desired.image),
        paths: changesNics ? paths : { ...paths, networkSockets: paths.networkSockets.slice(0, nics.length) },
        machine: before.driver === chosen.kind && before.machine !== null ? before.machine : undefined,
        confinement,
        nics,
        ...(record.startedWith?.hotplug === undefined ? {} : { hotplug: record.startedWith.hotplug }),
        agent: chosen.capabilities.agent === true && desired.image.format !== "multiboot",
        ...(desired.needsLease ? { spawn: this.#deps.leases.spawn } : {}),
      },
      { deadlineMs: tunables.startDeadlineMs, signal },
    );
    this.#attach(instance, record);
    await this.#save({ ...record, status: "started", handle: instance.handle, machine: instance.handle.machine });
    this.#connectNics(desired);
  }

  /** A guest that boots without firmware is told of nothing that comes. */
  #changesNics({ image }: DesiredVm, { capabilities }: ChosenDriver): boolean {
    const { available } = this.#deps.networks;
    return capabilities.nicHotplug === true && image.format !== "multiboot" && available.networks.length > 0;
  }

  /** Without a specification nothing is known of what is wanted, and the switch goes on with what it knows. */
  #connectNics(desired: Pick<DesiredVm, "spec" | "cards"> | undefined): void {
    const { networks, store, walls } = this.#deps;
    const record = this.#record;
    const slot = this.#slot;
    if (desired === undefined || record === undefined || slot === undefined) return;
    const { networkSockets } = store.pathsOf(this.#vmId, record.generation, record.runDirectory);
    const ports = portsOf(record, desired, {
      vm: slot.instance.handle,
      networkSockets,
      confinement: walls.beside(record.confinement ?? { uid: null, controlGroups: [] }),
    });
    networks.want(this.#vmId, ports);
  }

  /** Tears down what a failed start left. Without a reason it was interrupted, and the plan decides anew. */
  async #startFailed(desired: DesiredVm, reason: RecordedExitReason | undefined, message: string): Promise<void> {
    const { clock, store, tunables } = this.#deps;
    const slot = this.#slot;
    if (slot !== undefined) {
      await stopInstance(clock, slot.instance, { ...tunables, powerdownDeadlineMs: 0, signal: neverAborted });
      await this.detach();
    }
    const record = this.#recordFor(desired);
    if (record.status === "starting") {
      await store.removeRunFiles(store.pathsOf(this.#vmId, record.generation, record.runDirectory));
    }
    if (reason !== undefined) this.#logger.log("warn", "a VM did not start", { reason, error: message });
    const end = { reason, message, stoppedBy: "not-started", stable: false } as const;
    await this.#finish({ ...record, fencingEpoch: desired.fencingEpoch }, end);
  }

  /** Writes down the end of an instance whose process is gone; then its files go. */
  async #finish(record: InstanceRecord, end: Omit<InstanceEnd, "unixMs">): Promise<void> {
    const { reason, message } = end;
    const { clock, store, tunables } = this.#deps;
    const ended = recordOfEnd(record, { ...end, unixMs: clock.unixMs() });
    await this.#save(ended);
    await this.detach();
    this.#deps.networks.want(this.#vmId, []);
    if (record.status !== "none") {
      await store.removeRunFiles(store.pathsOf(this.#vmId, record.generation, record.runDirectory));
      await this.#deps.walls.release(record.confinement);
    }
    if (reason === undefined) return;
    const { failures } = ended;
    this.#notBeforeMs = clock.monotonicMs() + restartDelayMs(reason, failures, tunables);
    this.#deps.metrics.exits.add(1, { reason });
    this.#logger.log("info", "a VM ended", { reason, message, stoppedBy: end.stoppedBy, failures });
  }

  async #adopt(record: InstanceRecord): Promise<void> {
    const { store, drivers } = this.#deps;
    const { status, driver } = record;
    if (status === "none" || driver === null) return;
    const paths = store.pathsOf(this.#vmId, record.generation, record.runDirectory);
    const instance = await drivers.adopterOf(driver).adopt(driver, paths, record.handle ?? undefined);
    this.#logger.log("info", "found an instance", { pid: instance.handle.pid, state: instance.state.value.type });
    // A stable run is one also when its manager was started anew meanwhile.
    this.#attach(instance, record, await processAgeMs(instance.handle).catch(() => 0));
    // Nothing is written that is written already: there may be no room.
    const found: InstanceRecord = { ...record, status: "started", handle: instance.handle };
    if (!isDeepStrictEqual(found, record)) await this.#save(found);
  }

  #attach(instance: VmInstance, record: InstanceRecord, ageMs = 0): void {
    const { consoleStartOffset } = record;
    const { clock, images, store, volumes, walls } = this.#deps;
    const scan = new ConsoleScan(this.console, consoleStartOffset);
    const bootSinceMs = clock.monotonicMs();
    const { networks } = this.#deps;
    const directory = store.directoryOf(this.#vmId);
    const { agent } = instance;
    const run = checkRunner({ clock, vmId: this.#vmId, networks, console: this.console, consoleStartOffset, agent });
    const parts = livePartsOf(instance, record, {
      ...{ clock, logger: this.#logger, volumes, images, walls, directory },
      useAll: () => (this.#slot?.agentView.value === undefined ? undefined : agent?.useAll()),
    });
    this.#slot = new InstanceSlot(
      instance,
      { startedMs: bootSinceMs - ageMs, bootSinceMs },
      scan,
      {
        ...{ clock, run },
        onChange: this.#calls.wake,
      },
      parts,
    );
    this.#slot.follow({ clock, logger: this.#logger, console: this.console, wake: this.#calls.wake, directory });
  }

  #wasStable(slot: InstanceSlot): boolean {
    return this.#deps.clock.monotonicMs() - slot.startedMs >= this.#deps.tunables.stableRunMs;
  }

  #recordFor(desired: DesiredVm): InstanceRecord {
    if (this.#record !== undefined) return { ...this.#record, name: desired.name };
    return newInstanceRecord(desired, this.#deps.store.runDirectory);
  }

  async #save(record: InstanceRecord): Promise<void> {
    await this.#deps.store.save(record);
    this.#record = record;
    this.#removed = false;
  }
}

/** Codes with which a start is over for good; with another one it is tried again. A reason that is not here needs none. */
const finalCodes: Partial<Record<RecordedExitReason, readonly (string | undefined)[]>> = {
  "disk-missing": ["NOT_FOUND"],
  "image-refused": ["INVALID_ARGUMENT", "VALUE_TOO_LARGE"],
};

const neverAborted = new AbortController().signal;
