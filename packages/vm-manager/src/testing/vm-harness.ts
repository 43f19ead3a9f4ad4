/** A VM manager on a data directory of its own, with what a test needs to look at it from outside. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { BlixardError, discardMetrics, fromUtf8, silentLogger, withTimeLimit } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import {
  type ImageRecord,
  type NodeCapacity,
  type VmDesired,
  type VmObservation,
  type VmSpec,
  vmSpecSchema,
} from "@blixard/protocol";
import type { ConfinementOptions } from "../confinement/confinement-options.ts";
import { builtinImages } from "../images/builtin-images.ts";
import type { VmManagerTunables } from "../options.ts";
import { findVmProcesses } from "../process/find-processes.ts";
import type { SpaceReserve } from "../space/space-guard.ts";
import { startVmManager } from "../vm-manager.ts";
import type { DesiredVm, FetchBlob, HostVmManager, VmManagerOptions } from "../vm-manager-types.ts";

/** Only a bug takes this long, also on a machine that does other work; less than a test's own limit, to say more. */
const patienceMs = 120_000;
const consoleReadBytes = 64 * 1024;

type DriverOptions = Pick<VmManagerOptions, "drivers" | "adopters" | "allowNoDriver">;

export interface VmHarnessOptions extends DriverOptions {
  readonly tunables?: Partial<VmManagerTunables>;
  readonly fetchBlob?: FetchBlob;
  /** The manager is told its data directory relative to the working directory of this process. */
  readonly relativeDataDir?: boolean;
  readonly confinement?: Partial<ConfinementOptions>;
  readonly reserve?: SpaceReserve;
  /** Where its data directory is made. Default: among the temporary files. */
  readonly parent?: string;
}

export interface VmWish {
  readonly desired?: VmDesired;
  readonly fencingEpoch?: number;
  readonly spec?: Partial<VmSpec>;
  readonly image?: ImageRecord;
  readonly madeDisks?: readonly string[];
  readonly volumeIds?: DesiredVm["volumeIds"];
  readonly disksIndex?: number;
  readonly cdromImages?: DesiredVm["cdromImages"];
  readonly cards?: NonNullable<DesiredVm["cards"]>;
  readonly openUserData?: NonNullable<DesiredVm["openUserData"]>;
}

export class VmHarness implements AsyncDisposable {
  readonly vmId = randomUUID();
  readonly name = "web";
  readonly dataDir: string;
  readonly #options: VmHarnessOptions;
  #manager: HostVmManager | undefined;

  private constructor(dataDir: string, options: VmHarnessOptions) {
    this.dataDir = dataDir;
    this.#options = options;
  }

  static async open(options: VmHarnessOptions): Promise<VmHarness> {
    const harness = new VmHarness(await mkdtemp(join(options.parent ?? tmpdir(), "blixard-vm-")), options);
    await harness.reopen();
    return harness;
  }

  get manager(): HostVmManager {
    if (this.#manager === undefined) throw new BlixardError("STOPPED", "the harness has no open manager");
    return this.#manager;
  }

  /** What the manager knows of the process of its VM. */
  get recordPath(): string {
    return join(this.dataDir, "instances", this.vmId, "instance.json");
  }

  get capacity(): NodeCapacity {
    return this.manager.capacity;
  }

  /** A manager of its own on the same directory, with other drivers where given; the caller closes it. */
  async startManager(other?: DriverOptions): Promise<HostVmManager> {
    const deps = {
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      metrics: discardMetrics,
      fetchBlob: this.#options.fetchBlob ?? (() => Promise.reject(new BlixardError("UNAVAILABLE", "no sources"))),
    };
    const { tunables = {}, relativeDataDir, confinement = {}, reserve } = this.#options;
    const space = reserve === undefined ? {} : { reserve };
    const { drivers, adopters = [], allowNoDriver = false } = other ?? this.#options;
    const dataDir = relativeDataDir === true ? relative(process.cwd(), this.dataDir) : this.dataDir;
    return await startVmManager(deps, { dataDir, drivers, adopters, allowNoDriver, tunables, confinement, ...space });
  }

  /** Closes the manager and lets its VMs run on. */
  async close(): Promise<void> {
    await this.#manager?.close();
    this.#manager = undefined;
  }

  /** A new manager on the same data directory, as after a restart of the node. */
  async reopen(other?: DriverOptions): Promise<void> {
    await this.close();
    this.#manager = await this.startManager(other);
  }

  wish(wish: VmWish = {}): DesiredVm {
    const image = wish.image ?? builtinImages[0];
    if (image === undefined) throw new BlixardError("INVARIANT", "there is a built-in image");
    return {
      vmId: this.vmId,
      name: this.name,
      spec: vmSpecSchema.parse({ memoryMiB: 16, image: image.name, ...wish.spec }),
      desired: wish.desired ?? "running",
      fencingEpoch: wish.fencingEpoch ?? 1,
      image,
      ...(wish.madeDisks === undefined ? {} : { madeDisks: wish.madeDisks }),
      ...(wish.openUserData === undefined ? {} : { openUserData: wish.openUserData }),
      ...(wish.volumeIds === undefined ? {} : { volumeIds: wish.volumeIds }),
      ...(wish.cdromImages === undefined ? {} : { cdromImages: wish.cdromImages }),
      ...(wish.cards === undefined ? {} : { cards: wish.cards }),
      ...(wish.disksIndex === undefined ? {} : { disksIndex: wish.disksIndex }),
    };
  }

  /** Wants the one VM of this harness. */
  want(wish: VmWish = {}): void {
    this.manager.setDesired([this.wish(wish)]);
  }

  observation(): VmObservation | undefined {
    return this.manager.observations.value.get(this.vmId);
  }

  async until(what: string, holds: (observation: VmObservation) => boolean): Promise<VmObservation> {
    const found = (all: ReadonlyMap<string, VmObservation>) => {
      const observation = all.get(this.vmId);
      return observation !== undefined && holds(observation);
    };
    try {
      await withTimeLimit(systemClock, patienceMs, undefined, (signal) =>
        this.manager.observations.until(found, { signal }),
      );
    } catch (error) {
      const seen = JSON.stringify(this.observation());
      throw new BlixardError("DEADLINE_EXCEEDED", `not seen: ${what}; the VM is ${seen}`, { cause: error });
    }
    const observation = this.observation();
    if (observation === undefined) throw new BlixardError("INVARIANT", "the observation was just there");
    return observation;
  }

  async untilReady(fencingEpoch = 1): Promise<VmObservation> {
    return await this.until(
      `Running and ready in epoch ${fencingEpoch}`,
      (seen) => seen.phase === "Running" && seen.guest === "ready" && seen.fencingEpoch === fencingEpoch,
    );
  }

  async untilNotResponding(): Promise<VmObservation> {
    return await this.until("not responding", (seen) => seen.guest === "not-responding");
  }

  async untilPhase(phase: VmObservation["phase"]): Promise<VmObservation> {
    return await this.until(phase, (seen) => seen.phase === phase);
  }

  async type(line: string): Promise<void> {
    await this.manager.writeConsole(this.vmId, fromUtf8(`${line}\n`));
  }

  /** Waits until `text` stands on the console at or after `offset`; resolves with the offset behind it. */
  async untilConsole(text: string, offset = 0): Promise<number> {
    const untilMs = systemClock.monotonicMs() + patienceMs;
    let read = "";
    let at = offset;
    for (;;) {
      const piece = await this.manager.readConsole(this.vmId, {
        offset: at,
        bytesMax: consoleReadBytes,
        waitMs: 1_000,
      });
      read += Buffer.from(piece.data).toString("latin1");
      at = piece.offset + piece.data.length;
      const found = read.indexOf(text);
      if (found >= 0) return at - (read.length - found - text.length);
      if (systemClock.monotonicMs() > untilMs)
        throw new BlixardError("DEADLINE_EXCEEDED", `not on the console: ${text}; it shows: ${read}`);
    }
  }

  /** The processes of this harness's VM, as anybody can count them: by their arguments. */
  async processes(): Promise<readonly number[]> {
    return (await findVmProcesses(this.vmId)).map(({ pid }) => pid);
  }

  /** The one process; throws when there are none or two. */
  async process(): Promise<number> {
    const [pid, ...more] = await this.processes();
    if (pid !== undefined && more.length === 0) return pid;
    throw new BlixardError("INVARIANT", `one process was expected, found ${pid === undefined ? 0 : 1 + more.length}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#manager?.close({ stopVms: true });
    for (const pid of await this.processes()) process.kill(pid, "SIGKILL");
    await rm(this.dataDir, { recursive: true, force: true });
  }
}
