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
 * Deadlines: `startDeadlineMs` on Starting, the specification's `bootDeadlineMs` on booting where it has one, the stop
 * ladder's on Stopping, the bounded retries of the image store on Preparing.
 */
import { BlixardError, type Logger, linkSignal, messageOf, sleep, Watch } from "@blixard/common";
import { disksOf, type VmObservation } from "@blixard/protocol";
import type { GuestAgent } from "./agent/guest-agent.ts";
import type { ConsoleLog } from "./console-log.ts";
import type { DiskPart } from "./disks/disk-copies.ts";
import type { CopiedAs, CopyOptions } from "./disks/running-volume.ts";
import { findInstance, type UncertainInstance } from "./find-instance.ts";
import { InstanceKeeper, type InstanceKeeperDeps } from "./instance-keeper.ts";
import { observe, sameObservation } from "./observation.ts";
import type { OpenBlob } from "./open-blob.ts";
import { type Activity, type PlanAction, type PlanDesired, type PlanInput, planVm, seeVm } from "./reconcile-plan.ts";
import type { Space } from "./space/space-guard.ts";
import type { StartTurns } from "./start-turns.ts";
import { untilWoken } from "./until-woken.ts";
import type { DesiredVm } from "./vm-manager-types.ts";

const bootPollMs = 100;
const silentPollMs = 1_000;
const errorRetryMs = 1_000;
/** Longer than a node takes to find its leader. */
const leaseHopeMs = 20_000;

export interface VmMachineDeps extends InstanceKeeperDeps {
  /** The order of the starts when the manager comes up. */
  readonly turns: StartTurns;
  /** Whether VMs with disks may write. */
  readonly space: Watch<Space>;
  readonly publish: (observation: VmObservation) => void;
  /** Called when nothing of a VM that is not wanted is left. */
  readonly forget: (vmId: string) => void;
}

export class VmMachine {
  readonly vmId: string;
  readonly #deps: VmMachineDeps;
  readonly #logger: Logger;
  readonly #wake = new Watch(0);
  readonly #closing = new AbortController();
  /** True while nothing runs and nothing is to be done. */
  readonly #quiet = new Watch(false);
  #interrupt = linkSignal(undefined);
  #desired: DesiredVm | undefined;
  /** Until then it counts on a lease of the node. */
  readonly #hopesUntilMs: number;
  #desiredKnown = false;
  #stopAll = false;
  readonly #keeper: InstanceKeeper;
  #activity: Activity;
  #activityMessage = "";
  #published: VmObservation | undefined;
  readonly #looked = new Watch(false);
  /** Why it is not known what runs. */
  #uncertain: UncertainInstance | undefined;
  /** True when it is known what runs. */
  #loaded = false;
  readonly #loop: Promise<void>;

  /** `desired`: what is known to be wanted of it, before it is looked what runs. */
  constructor(deps: VmMachineDeps, vmId: string, desired?: DesiredVm) {
    this.vmId = vmId;
    this.#desired = desired;
    this.#desiredKnown = desired !== undefined;
    this.#hopesUntilMs = deps.clock.monotonicMs() + leaseHopeMs;
    this.#deps = deps;
    this.#logger = deps.logger.child({ vmId });
    this.#keeper = new InstanceKeeper(deps, vmId, this.#logger, {
      wake: () => this.#poke(),
      setActivity: (activity, message) => this.#setActivity(activity, message),
    });
    this.#loop = this.#begin();
  }

  get console(): ConsoleLog {
    return this.#keeper.console;
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
        if (this.#loaded) return;
        this.#deps.turns.done(this.vmId, { started: false });
        await this.#wait(seen, this.#deps.clock.monotonicMs() + errorRetryMs);
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
    await this.#keeper.load(found);
    await this.#keeper.look(this.#wanted());
    this.#publish();
    return true;
  }

  /** Undefined: this node does not own the VM. The same object again changes nothing, and is not looked at. */
  setDesired(desired: DesiredVm | undefined): void {
    const before = this.#desired;
    if (this.#desiredKnown && desired === before) return;
    this.#desired = desired;
    this.#desiredKnown = true;
    const same = before?.desired === desired?.desired && before?.fencingEpoch === desired?.fencingEpoch;
    if (!same) this.#interrupt.abort(new BlixardError("CANCELLED", "something else is wanted of the VM now"));
    this.#poke();
  }

  /** The room on the file systems has changed. */
  spaceChanged(): void {
    if (this.#hasDisks) this.#poke();
  }

  /** It may write to a disk at this moment. */
  get mayWrite(): boolean {
    return this.#hasDisks && this.#keeper.slot?.instance.state.value.type === "running";
  }

  get #hasDisks(): boolean {
    const desired = this.#desired;
    return desired !== undefined && disksOf(desired.spec, desired.image).length > 0;
  }

  /** Whether the next thing that it does may be a start. */
  get mayStart(): boolean {
    if (!this.#looked.value) return true;
    return this.#loaded && this.#startsNext;
  }

  async writeConsole(data: Uint8Array): Promise<void> {
    const { slot } = this.#keeper;
    if (slot === undefined) throw new BlixardError("UNAVAILABLE", "the VM does not run on this node");
    await slot.instance.writeConsole(data);
  }

  /** @throws UNAVAILABLE when the VM does not run here, UNSUPPORTED when it has no channel for an agent */
  get agent(): GuestAgent {
    const { slot } = this.#keeper;
    if (slot === undefined) throw new BlixardError("UNAVAILABLE", "the VM does not run on this node");
    if (slot.instance.agent !== undefined) return slot.instance.agent;
    throw new BlixardError("UNSUPPORTED", "the VM has no channel for an agent: its image or its driver has none");
  }

  /** A part of its disks, and of the files of its volumes, while nothing runs and nothing is under way. */
  async openDiskPart(part: DiskPart, volumes: ReadonlyMap<string, string>): Promise<OpenBlob | undefined> {
    if (!this.#loaded || this.#activity !== undefined) return undefined;
    return await this.#keeper.openDiskPart(part, volumes);
  }

  /** Copies a volume that it has as this disk to another place while it runs; undefined when it does not. */
  async copyVolume(name: string, to: string, options: CopyOptions): Promise<CopiedAs | undefined> {
    return await this.#keeper.copyVolume(name, to, options);
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
    await this.#keeper.detach();
  }

  /** The lease of the node has begun, or is over. */
  leaseChanged(): void {
    if (this.#desired?.needsLease) this.#poke();
  }

  /** Volumes of this node were made, or made larger. */
  volumesChanged(): void {
    this.#keeper.slot?.disks?.look();
  }

  /** Something else is, or is not any more, wrong with its network. */
  networkChanged(): void {
    this.#poke();
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
        await this.#keeper.install(this.#desired);
        await this.#keeper.look(this.#wanted());
        const action = planVm(this.#input());
        const { turns } = this.#deps;
        const startsNext = this.#startsNext;
        if (!startsNext) turns.done(this.vmId, { started: false });
        if (action.type === "forget") {
          forgotten = true;
          this.#deps.forget(this.vmId);
        } else if (action.type === "wait") {
          await this.#wait(seen, action.untilMs ?? (startsNext ? this.#hopesUntilMs : undefined));
        } else await this.#perform(action);
      });
    }
  }

  /** A VM that lacks nothing but the lease of its node keeps its turn for a while: the node comes up at this moment. */
  get #startsNext(): boolean {
    const input = this.#input();
    const mayRun = input.mayRun || input.nowMs < this.#hopesUntilMs;
    return isBeforeStart(planVm({ ...input, mayRun }), this.#keeper.slot !== undefined);
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

  async #wait(seen: number, untilMs: number | undefined): Promise<void> {
    this.#publish();
    if (this.#wake.value !== seen) return;
    this.#quiet.set(this.#keeper.slot === undefined);
    await untilWoken(this.#deps.clock, this.#wake, seen, untilMs);
  }

  async #perform(action: Exclude<PlanAction, { type: "wait" | "forget" }>): Promise<void> {
    const { signal } = this.#closing;
    switch (action.type) {
      case "start":
        return await this.#start();
      case "stop": {
        // Without firmware (multiboot) nobody in the guest listens to the power button.
        const asks = this.#desired !== undefined && this.#desired.image.format !== "multiboot";
        return await this.#keeper.stop(action, { asks, signal });
      }
      case "collect":
        return await this.#keeper.collect(signal);
      case "pause":
        return await this.#keeper.pause();
      case "resume":
        return await this.#keeper.resume();
      case "remove":
        return await this.#keeper.remove(this.#desired?.desired === "deleted");
      default:
        action satisfies never;
    }
  }

  /** Ends when something else is wanted of the VM. */
  async #start(): Promise<void> {
    if (this.#desired === undefined) return;
    const interrupt = linkSignal(this.#closing.signal);
    this.#interrupt = interrupt;
    const { signal } = interrupt;
    const { turns } = this.#deps;
    try {
      if (turns.mustWait(this.vmId)) this.#setActivity("queued", "VMs with a lower autostart order start first");
      await turns.turn(this.vmId, signal).catch(() => {});
      await this.#untilOpened(signal);
      if (!signal.aborted) await this.#keeper.start(this.#desired, signal);
    } finally {
      interrupt.release();
      turns.done(this.vmId, { started: this.#keeper.slot !== undefined });
    }
  }

  /** The leader seals the user data of a VM to a node after it has given it the VM. */
  async #untilOpened(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const seen = this.#wake.value;
      const openUserData = this.#desired?.openUserData;
      if (openUserData === undefined || openUserData() !== undefined) return;
      this.#setActivity("queued", "its user data is not sealed to this node yet");
      await this.#wake.until((count) => count !== seen, { signal }).catch(() => {});
    }
  }

  /** What is wanted now, after {@link close} with `stopVms` too. */
  #wanted(): PlanDesired | undefined {
    if (!this.#stopAll) return this.#desired;
    const fencingEpoch = Math.max(this.#desired?.fencingEpoch ?? 0, this.#keeper.record?.fencingEpoch ?? 0);
    return { desired: "stopped", fencingEpoch };
  }

  #input(): PlanInput {
    const { tunables, clock, space } = this.#deps;
    const { record, slot, notBeforeMs, removed } = this.#keeper;
    return {
      desiredKnown: this.#desiredKnown || this.#stopAll,
      desired: this.#wanted(),
      instance: slot?.seen(record?.fencingEpoch ?? 0),
      fencingEpochSeen: record?.fencingEpoch ?? 0,
      exit: record?.exit ?? null,
      failures: record?.failures ?? 0,
      notBeforeMs,
      nowMs: clock.monotonicMs(),
      limits: { ...tunables, bootPollMs, silentPollMs },
      mayRun: this.#desired?.needsLease !== true || this.#deps.leases.isHeld(),
      // Data that was kept is there until it is deleted.
      removed: removed && (record === undefined || this.#desired?.desired !== "deleted"),
      mustHold: space.value.mustHold && this.#hasDisks,
      hasRoom: space.value.hasRoom,
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
      record: this.#keeper.record,
      unixMs: this.#deps.clock.unixMs(),
      network: this.#keeper.networkProblem(this.#desired),
      agent: this.#keeper.slot?.agentView.value,
      disks: this.#keeper.slot?.disks?.view.value,
      size: this.#keeper.slot?.size?.view.value,
    });
    if (this.#published !== undefined && sameObservation(this.#published, observation)) return;
    this.#published = observation;
    this.#deps.publish(observation);
  }
}

/** A start comes next: at once, or after what is left was cleared away or the back-off is over. */
function isBeforeStart(action: PlanAction, hasInstance: boolean): boolean {
  if (action.type === "wait") return !hasInstance && action.untilMs !== undefined;
  return action.type === "start" || action.type === "collect";
}
