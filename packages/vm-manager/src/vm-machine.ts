/**
 * The state machine of one VM. One loop owns it: it looks, asks the plan (`reconcile-plan.ts`) for one action, carries
 * it out, and looks again. Everything else (a new wish, an event of the instance, a byte on the console) only wakes it.
 *
 *   Pending --start--> Preparing --image here--> Starting --process answers--> Running(booting) --first byte--> (ready)
 *      ^                   |                        |                             |    ^
 *      |                   +---- start-failed ------+                       pause |    | resume
 *      | restart policy, back-off                   |                             v    |
 *      +------------------------- Stopped / Failed <+-- Stopping <-- end ------ Paused-+
 *                                        |                 ^
 *                                     Deleted              +--- Unknown (no answer; never a second start)
 *
 * Deadlines: `startDeadlineMs` on Starting, `bootDeadlineMs` on booting, the stop ladder's on Stopping, the bounded
 * retries of the image store on Preparing.
 */
import {
  BlixardError,
  type Clock,
  errorCodeOf,
  type Logger,
  linkSignal,
  messageOf,
  type Semaphore,
  sleep,
  Watch,
} from "@blixard/common";
import type { VmObservation } from "@blixard/protocol";
import type { VmWalls } from "./confinement/vm-walls.ts";
import { ConsoleLog } from "./console-log.ts";
import type { BootSource, VmInstance } from "./driver.ts";
import type { ChosenDriver, DriverSet } from "./driver-set.ts";
import { findInstance, type UncertainInstance } from "./find-instance.ts";
import type { ImageStore } from "./images/image-store.ts";
import { prepareBoot } from "./images/prepare-boot.ts";
import {
  type InstanceRecord,
  newInstanceRecord,
  type RecordedExitReason,
  recordOfEnd,
  recordOfStart,
} from "./instance-record.ts";
import { InstanceSlot } from "./instance-slot.ts";
import type { InstanceStore } from "./instance-store.ts";
import type { VmMetrics } from "./metrics.ts";
import { observe, sameObservation } from "./observation.ts";
import type { VmManagerTunables } from "./options.ts";
import {
  type Activity,
  exitMessages,
  type PlanAction,
  type PlanDesired,
  type PlanInput,
  planVm,
  restartDelayMs,
  seeVm,
} from "./reconcile-plan.ts";
import { stopInstance } from "./stop-ladder.ts";
import type { DesiredVm } from "./vm-manager-types.ts";

const bootPollMs = 100;
const errorRetryMs = 1_000;

export interface VmMachineDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly store: InstanceStore;
  readonly images: ImageStore;
  readonly drivers: DriverSet;
  readonly walls: VmWalls;
  /** Bounds the instances of this node that start at a time. */
  readonly starts: Semaphore;
  readonly tunables: VmManagerTunables;
  readonly metrics: VmMetrics;
  readonly publish: (observation: VmObservation) => void;
  /** Called when nothing of a VM that is not wanted is left. */
  readonly forget: (vmId: string) => void;
}

export class VmMachine {
  readonly vmId: string;
  readonly console: ConsoleLog;
  readonly #deps: VmMachineDeps;
  readonly #logger: Logger;
  readonly #wake = new Watch(0);
  readonly #closing = new AbortController();
  /** True while nothing runs and nothing is to be done. */
  readonly #quiet = new Watch(false);
  #interrupt = linkSignal(undefined);
  #desired: DesiredVm | undefined;
  #desiredKnown = false;
  #stopAll = false;
  #record: InstanceRecord | undefined;
  #removed = true;
  #slot: InstanceSlot | undefined;
  #notBeforeMs = 0;
  #activity: Activity;
  #activityMessage = "";
  #published: VmObservation | undefined;
  readonly #looked = new Watch(false);
  /** Why it is not known what runs. */
  #uncertain: UncertainInstance | undefined;
  /** True when it is known what runs. */
  #loaded = false;
  readonly #loop: Promise<void>;

  constructor(deps: VmMachineDeps, vmId: string) {
    this.vmId = vmId;
    this.#deps = deps;
    this.#logger = deps.logger.child({ vmId });
    this.console = new ConsoleLog(deps.store.directoryOf(vmId), deps.tunables.consoleBytesMax);
    this.#loop = this.#begin();
  }

  /** Resolves when what may still run was looked for once, found or not. */
  async untilLooked(): Promise<void> {
    await this.#looked.until((looked) => looked);
  }

  /** Nothing is decided before it is known what runs: a machine that cannot look must not start a second instance. */
  async #begin(): Promise<void> {
    while (!this.#loaded && !this.#closing.signal.aborted) {
      await this.#retrying(async () => {
        const seen = this.#wake.value;
        try {
          this.#loaded = await this.#load();
        } finally {
          this.#looked.set(true);
        }
        if (!this.#loaded) await this.#wait(seen, this.#deps.clock.monotonicMs() + errorRetryMs);
      });
    }
    if (this.#loaded) await this.#run();
  }

  /** False when it is not certain what runs: then nothing is started, and it is looked again. */
  async #load(): Promise<boolean> {
    const found = await findInstance(this.#deps, this.vmId, this.#desired?.desired === "deleted");
    const before = this.#uncertain?.message;
    this.#uncertain = found.type === "uncertain" ? found : undefined;
    if (found.type === "uncertain") {
      const { reason, message } = found;
      if (message !== before) this.#logger.log("error", "it is not certain what runs of a VM", { reason, message });
      return false;
    }
    this.#record = found.record;
    this.#removed = found.record === undefined && !found.leftovers;
    if (found.record !== undefined) await this.#adopt(found.record);
    await this.#look();
    this.#publish();
    return true;
  }

  /** Undefined: this node does not own the VM. */
  setDesired(desired: DesiredVm | undefined): void {
    const before = this.#desired;
    this.#desired = desired;
    this.#desiredKnown = true;
    const same = before?.desired === desired?.desired && before?.fencingEpoch === desired?.fencingEpoch;
    if (!same) this.#interrupt.abort(new BlixardError("CANCELLED", "something else is wanted of the VM now"));
    this.#poke();
  }

  async writeConsole(data: Uint8Array): Promise<void> {
    const slot = this.#slot;
    if (slot === undefined) throw new BlixardError("UNAVAILABLE", "the VM does not run on this node");
    await slot.instance.writeConsole(data);
  }

  /** Ends the loop; the instance runs on, unless `stopVms`. What could not be looked for cannot be stopped either. */
  async close(options: { readonly stopVms: boolean }): Promise<void> {
    await this.untilLooked();
    if (options.stopVms && this.#loaded) {
      this.#stopAll = true;
      this.#interrupt.abort(new BlixardError("CANCELLED", "all VMs are stopped"));
      this.#poke();
      await this.#quiet.until((quiet) => quiet);
    }
    this.#closing.abort(new BlixardError("STOPPED", "the VM manager closes"));
    this.#poke();
    await this.#loop;
    const slot = this.#slot;
    this.#slot = undefined;
    await slot?.detach();
  }

  #poke(): void {
    this.#quiet.set(false);
    this.#wake.update((count) => count + 1);
  }

  async #run(): Promise<void> {
    let forgotten = false;
    while (!this.#closing.signal.aborted && !forgotten) {
      await this.#retrying(async () => {
        const seen = this.#wake.value;
        await this.#look();
        const action = planVm(this.#input());
        if (action.type === "forget") {
          forgotten = true;
          this.#deps.forget(this.vmId);
        } else if (action.type === "wait") await this.#wait(seen, action.untilMs);
        else await this.#perform(action);
      });
    }
  }

  /** Runs one step; a failure is told and waited out, so that a full disk or a slow process never ends the loop. */
  async #retrying(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#logger.log("error", "an action on a VM failed; it is tried again", { error: messageOf(error) });
      await sleep(this.#deps.clock, errorRetryMs, this.#closing.signal).catch(() => {});
    } finally {
      this.#setActivity(undefined);
    }
  }

  /** Brings what is recorded up to what is wanted and what the console shows. */
  async #look(): Promise<void> {
    const record = this.#record;
    const desired = this.#wanted();
    if (record !== undefined && desired !== undefined && record.desired !== desired.desired) {
      // Wanted to run after it was wanted stopped: earlier ends do not count any more.
      const again = record.desired === "stopped" && desired.desired !== "deleted";
      await this.#save({ ...record, desired: desired.desired, ...(again ? { exit: null, failures: 0 } : {}) });
      if (again) this.#notBeforeMs = 0;
    }
    const slot = this.#slot;
    if (slot === undefined || slot.guestReady || this.#record === undefined) return;
    slot.guestReady = (await this.console.endOffset()) > this.#record.consoleStartOffset;
  }

  async #wait(seen: number, untilMs: number | undefined): Promise<void> {
    this.#publish();
    if (this.#wake.value !== seen) return;
    this.#quiet.set(this.#slot === undefined);
    const round = new AbortController();
    const waits: Promise<unknown>[] = [this.#wake.until((count) => count !== seen, { signal: round.signal })];
    if (untilMs !== undefined) {
      waits.push(sleep(this.#deps.clock, Math.max(0, untilMs - this.#deps.clock.monotonicMs()), round.signal));
    }
    try {
      await Promise.race(waits);
    } finally {
      for (const pending of waits) pending.catch(() => {});
      round.abort();
    }
  }

  async #perform(action: Exclude<PlanAction, { type: "wait" | "forget" }>): Promise<void> {
    switch (action.type) {
      case "start":
        return await this.#startInstance();
      case "stop":
        return await this.#stopInstance(action.reason, action.message, action.graceful);
      case "collect":
        return await this.#collect();
      case "pause":
        return await this.#slot?.instance.pause();
      case "resume":
        this.#slot?.beginBoot(this.#deps.clock.monotonicMs());
        return await this.#slot?.instance.resume();
      case "remove":
        return await this.#remove();
      default:
        action satisfies never;
    }
  }

  async #startInstance(): Promise<void> {
    const desired = this.#desired;
    if (desired === undefined) return;
    const interrupt = linkSignal(this.#closing.signal);
    this.#interrupt = interrupt;
    const { signal } = interrupt;
    const { clock, store, images, drivers, starts, metrics } = this.#deps;
    const startedMs = clock.monotonicMs();
    let refusal: RecordedExitReason = "driver-unsupported";
    try {
      this.#setActivity("preparing");
      const chosen = drivers.choose(desired);
      refusal = "image-refused";
      await store.makeDirectory(this.vmId);
      const boot = await prepareBoot(images, desired.image, store.directoryOf(this.vmId), signal);
      refusal = "start-failed";
      await starts.run(() => this.#startProcess(desired, chosen, boot, signal), signal);
      metrics.starts.add(1, { driver: chosen.kind });
      metrics.startDuration.observe((clock.monotonicMs() - startedMs) / 1_000);
    } catch (error) {
      const retryable = errorCodeOf(error) === "UNAVAILABLE" || errorCodeOf(error) === "STORAGE_CORRUPT";
      const reason = refusal === "image-refused" && retryable ? "start-failed" : refusal;
      await this.#startFailed(desired, signal.aborted ? undefined : reason, messageOf(error));
    } finally {
      interrupt.release();
    }
  }

  async #startProcess(desired: DesiredVm, chosen: ChosenDriver, boot: BootSource, signal: AbortSignal): Promise<void> {
    this.#setActivity("starting");
    const { store, clock, tunables, walls } = this.#deps;
    const before = this.#recordFor(desired);
    const { confinement, recorded } = await walls.confine(this.vmId, chosen.kind, desired.spec);
    const record = recordOfStart(before, {
      fencingEpoch: desired.fencingEpoch,
      driver: chosen.kind,
      consoleStartOffset: await this.console.endOffset(),
      runDirectory: store.runDirectory,
      hasDisk: boot.type === "disk",
      confinement: recorded,
    });
    // Durable before the spawn: whatever happens next, a later manager knows where to look for a process.
    await this.#save(record);
    const instance = await chosen.start(
      {
        vmId: this.vmId,
        name: desired.name,
        fencingEpoch: record.fencingEpoch,
        generation: record.generation,
        driver: chosen.kind,
        vm: desired.spec,
        boot,
        paths: store.pathsOf(this.vmId, record.generation, record.runDirectory),
        machine: before.driver === chosen.kind && before.machine !== null ? before.machine : undefined,
        confinement,
      },
      { deadlineMs: tunables.startDeadlineMs, signal },
    );
    this.#attach(instance, clock.monotonicMs());
    await this.#save({ ...record, status: "started", handle: instance.handle, machine: instance.handle.machine });
  }

  /** Tears down what a failed start left. Without a reason it was interrupted, and the plan decides anew. */
  async #startFailed(desired: DesiredVm, reason: RecordedExitReason | undefined, message: string): Promise<void> {
    const { clock, store, tunables } = this.#deps;
    const slot = this.#slot;
    if (slot !== undefined) {
      await stopInstance(clock, slot.instance, { ...tunables, powerdownDeadlineMs: 0, signal: neverAborted });
      await this.#detach();
    }
    const record = this.#recordFor(desired);
    if (record.status === "starting") {
      await store.removeRunFiles(store.pathsOf(this.vmId, record.generation, record.runDirectory));
    }
    if (reason !== undefined) this.#logger.log("warn", "a VM did not start", { reason, error: message });
    await this.#finish({ ...record, fencingEpoch: desired.fencingEpoch }, reason, message, false);
  }

  async #stopInstance(reason: RecordedExitReason, message: string, graceful: boolean): Promise<void> {
    const { clock, tunables } = this.#deps;
    const slot = this.#slot;
    const record = this.#record;
    if (slot === undefined || record === undefined) return;
    this.#setActivity("stopping", message);
    // Without firmware (multiboot) nobody in the guest listens to the power button.
    const asks = graceful && this.#desired !== undefined && this.#desired.image.format !== "multiboot";
    await stopInstance(clock, slot.instance, {
      powerdownDeadlineMs: asks ? tunables.powerdownDeadlineMs : 0,
      quitDeadlineMs: tunables.quitDeadlineMs,
      signal: this.#closing.signal,
    });
    await this.#finish(record, reason, message, this.#wasStable(slot));
  }

  async #collect(): Promise<void> {
    const { clock, tunables } = this.#deps;
    const slot = this.#slot;
    const record = this.#record;
    if (slot === undefined || record === undefined) return;
    const state = slot.instance.state.value;
    if (state.type !== "halted" && state.type !== "ended") return;
    this.#setActivity("stopping", exitMessages[state.reason]);
    await stopInstance(clock, slot.instance, { ...tunables, powerdownDeadlineMs: 0, signal: this.#closing.signal });
    await this.#finish(record, state.reason, exitMessages[state.reason], this.#wasStable(slot));
  }

  /** Writes down the end of an instance whose process is gone; then its files go. */
  async #finish(
    record: InstanceRecord,
    reason: RecordedExitReason | undefined,
    message: string,
    stable: boolean,
  ): Promise<void> {
    const { clock, store, tunables } = this.#deps;
    const ended = recordOfEnd(record, { reason, message, stable, unixMs: clock.unixMs() });
    await this.#save(ended);
    await this.#detach();
    if (record.status !== "none") {
      await store.removeRunFiles(store.pathsOf(this.vmId, record.generation, record.runDirectory));
      await this.#deps.walls.release(record.confinement);
    }
    if (reason === undefined) return;
    const { failures } = ended;
    this.#notBeforeMs = clock.monotonicMs() + restartDelayMs(reason, failures, tunables);
    this.#deps.metrics.exits.add(1, { reason });
    this.#logger.log("info", "a VM ended", { reason, message, failures });
  }

  async #remove(): Promise<void> {
    this.#setActivity("stopping", "removing its files");
    // A disk that moved away or lost its owner by mistake is data: only a deletion removes it.
    const keep = this.#record?.hasDisk === true && this.#desired?.desired !== "deleted";
    if (!keep) {
      await this.#deps.store.remove(this.vmId);
      this.#deps.walls.forget(this.vmId);
      this.console.reset();
      this.#record = undefined;
    }
    this.#removed = true;
  }

  /** Finds again what runs, or ran, by the record of its start. */
  async #adopt(record: InstanceRecord): Promise<void> {
    const { store, drivers, clock } = this.#deps;
    const { status, driver } = record;
    if (status === "none" || driver === null) return;
    const paths = store.pathsOf(this.vmId, record.generation, record.runDirectory);
    const instance = await drivers.adopterOf(driver).adopt(driver, paths, record.handle ?? undefined);
    this.#logger.log("info", "found an instance", { pid: instance.handle.pid, state: instance.state.value.type });
    this.#attach(instance, clock.monotonicMs());
    await this.#save({ ...record, status: "started", handle: instance.handle });
  }

  #attach(instance: VmInstance, sinceMs: number): void {
    this.#slot = new InstanceSlot(instance, sinceMs);
    const { clock } = this.#deps;
    this.#slot.follow({ clock, logger: this.#logger, console: this.console, wake: () => this.#poke() });
  }

  async #detach(): Promise<void> {
    const slot = this.#slot;
    this.#slot = undefined;
    await slot?.detach();
  }

  #wasStable(slot: InstanceSlot): boolean {
    return this.#deps.clock.monotonicMs() - slot.sinceMs >= this.#deps.tunables.stableRunMs;
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

  /** What is wanted now, after {@link close} with `stopVms` too. */
  #wanted(): PlanDesired | undefined {
    if (!this.#stopAll) return this.#desired;
    const fencingEpoch = Math.max(this.#desired?.fencingEpoch ?? 0, this.#record?.fencingEpoch ?? 0);
    return { desired: "stopped", fencingEpoch };
  }

  #input(): PlanInput {
    const { tunables, clock } = this.#deps;
    return {
      desiredKnown: this.#desiredKnown || this.#stopAll,
      desired: this.#wanted(),
      instance: this.#slot?.seen(this.#record?.fencingEpoch ?? 0, this.#desired?.image.format !== "disk"),
      fencingEpochSeen: this.#record?.fencingEpoch ?? 0,
      exit: this.#record?.exit ?? null,
      failures: this.#record?.failures ?? 0,
      notBeforeMs: this.#notBeforeMs,
      nowMs: clock.monotonicMs(),
      limits: { ...tunables, bootPollMs },
      removed: this.#removed,
    };
  }

  #setActivity(activity: Activity, message = ""): void {
    this.#activity = activity;
    this.#activityMessage = message;
    if (activity !== undefined) this.#publish();
  }

  #publish(): void {
    const input = this.#input();
    const uncertain = this.#uncertain;
    if (input.desired === undefined && input.instance === undefined && input.removed && uncertain === undefined) return;
    const observation = observe(this.vmId, {
      input,
      seen: uncertain ?? seeVm(input, this.#activity, this.#activityMessage),
      record: this.#record,
      unixMs: this.#deps.clock.unixMs(),
    });
    if (this.#published !== undefined && sameObservation(this.#published, observation)) return;
    this.#published = observation;
    this.#deps.publish(observation);
  }
}

const neverAborted = new AbortController().signal;
