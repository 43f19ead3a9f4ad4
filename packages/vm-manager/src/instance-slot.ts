/** A running instance in the hands of its machine: what is known about this start of it, and who is woken by it. */
import { type Clock, type Logger, messageOf, sleep, Watch } from "@blixard/common";
import type { GuestAgentView } from "@blixard/protocol";
import { thawLeftovers } from "./agent/file-system-freeze.ts";
import { followAgent } from "./agent/follow-agent.ts";
import type { ConsoleLog } from "./console-log.ts";
import type { ConsoleScan } from "./console-scan.ts";
import type { InstanceState, VmInstance } from "./driver.ts";
import { HealthWatch, type HealthWatchDeps } from "./health/health-watch.ts";
import type { LiveParts } from "./live-parts.ts";
import type { PlanInstance } from "./reconcile-plan.ts";

const tendIntervalMs = 500;
/** After a disk failed, the time until it is tried again; doubles until a guest ran for a while in between. */
const diskRetryMsMin = 1_000;
const diskRetryMsMax = 60_000;

export interface InstanceFollower {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly console: ConsoleLog;
  /** Of the VM. */
  readonly directory: string;
  /** Called when the instance changed, and for each piece of output until the guest is ready. */
  readonly wake: () => void;
}

export class InstanceSlot {
  readonly instance: VmInstance;
  /** When this start began, in monotonic milliseconds; before this manager, for an adopted one. */
  readonly startedMs: number;
  guestReady = false;
  /** What the agent in the guest says; undefined while none answers. */
  readonly agentView = new Watch<GuestAgentView | undefined>(undefined);
  readonly health: HealthWatch;
  readonly disks: LiveParts["disks"];
  readonly size: LiveParts["size"];
  readonly nics: LiveParts["nics"];
  readonly #scan: ConsoleScan;
  #bootSinceMs: number;
  #diskRetryMs = 0;
  #diskDelayMs = diskRetryMsMin;
  /** The last failure of a disk that was looked at. */
  #diskFailure: InstanceState | undefined;
  readonly #following = new AbortController();

  constructor(
    instance: VmInstance,
    { startedMs, bootSinceMs }: { readonly startedMs: number; readonly bootSinceMs: number },
    scan: ConsoleScan,
    health: Pick<HealthWatchDeps, "clock" | "run" | "onChange">,
    live: LiveParts,
  ) {
    this.disks = live.disks;
    this.size = live.size;
    this.nics = live.nics;
    this.instance = instance;
    this.health = new HealthWatch({
      ...health,
      isRunning: () => instance.state.value.type === "running",
      startedMs,
    });
    this.startedMs = startedMs;
    this.#scan = scan;
    this.#bootSinceMs = bootSinceMs;
  }

  /** When the guest began to boot, for the deadline of its first byte. */
  get bootSinceMs(): number {
    return this.#bootSinceMs;
  }

  /** A guest that was paused gets its whole time again. */
  beginBoot(nowMs: number): void {
    this.#bootSinceMs = nowMs;
  }

  /** As the plan looks at it. */
  seen(fencingEpoch: number): PlanInstance {
    const { bootSinceMs, guestReady } = this;
    const [panic, diskRetryMs] = [this.#scan.panic, this.#diskRetryMs];
    const { health } = this.health;
    return { state: this.instance.state.value, fencingEpoch, bootSinceMs, guestReady, panic, health, diskRetryMs };
  }

  /** Each failure of a disk is waited out, and longer when it comes soon after the one before. */
  lookAtDisks(nowMs: number): void {
    const { value } = this.instance.state;
    if (value.type !== "io-error" || value === this.#diskFailure) return;
    this.#diskFailure = value;
    const ranForLong = nowMs - this.#diskRetryMs >= diskRetryMsMax;
    this.#diskDelayMs = ranForLong ? diskRetryMsMin : Math.min(2 * this.#diskDelayMs, diskRetryMsMax);
    this.#diskRetryMs = nowMs + this.#diskDelayMs;
  }

  /** Looks at what the guest has written since it was looked at last. */
  async scanConsole(): Promise<void> {
    await this.#scan.advance();
  }

  follow(follower: InstanceFollower): void {
    void this.#followState(follower);
    void this.#followSerial(follower);
    void this.#followAgent(follower);
    void this.#followView(this.disks?.view, follower);
    void this.#followView(this.size?.view, follower);
    void this.#followView(this.nics?.view, follower);
  }

  /** Lets go of the instance without ending it. */
  async detach(): Promise<void> {
    this.#following.abort();
    this.health.close();
    await this.disks?.close();
    await this.size?.close();
    await this.nics?.close();
    await this.instance.detach();
  }

  async #followState({ wake }: InstanceFollower): Promise<void> {
    for await (const _ of this.instance.state.values({ signal: this.#following.signal })) wake();
  }

  async #followView<T>(view: Watch<T> | undefined, { wake }: InstanceFollower): Promise<void> {
    for await (const _ of view?.values({ signal: this.#following.signal }) ?? []) wake();
  }

  async #followAgent({ clock, wake, directory }: InstanceFollower): Promise<void> {
    const { agent } = this.instance;
    if (agent === undefined) return;
    const { signal } = this.#following;
    void thawLeftovers({ clock, agent, directory }, signal);
    void followAgent(clock, agent, this.agentView, signal);
    for await (const _ of this.agentView.values({ signal })) wake();
  }

  async #followSerial(follower: InstanceFollower): Promise<void> {
    for await (const _ of this.instance.serialActivity.values({ signal: this.#following.signal })) {
      if (!this.guestReady) follower.wake();
      else await this.#tend(follower);
    }
  }

  /** Cuts a full console log and looks at it; at most once per interval, however much the guest writes. */
  async #tend({ clock, logger, console, wake }: InstanceFollower): Promise<void> {
    const { signal } = this.#following;
    try {
      await console.rotate();
      await sleep(clock, tendIntervalMs, signal);
      // After the pause: the process tells of output before it has written it into the log.
      const before = this.#scan.panic;
      await this.scanConsole();
      if (this.#scan.panic !== before) wake();
    } catch (error) {
      if (!signal.aborted) logger.log("warn", "a console log cannot be read or cut", { error: messageOf(error) });
    }
  }
}
