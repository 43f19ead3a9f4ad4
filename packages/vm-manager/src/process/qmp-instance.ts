/**
 * One VM in a process of its own that speaks QMP: QEMU, or the host process of the embedded driver.
 *
 *   unknown --connected, query-status--> running <-> paused, io-error <-- an answer --+
 *      |                                    |     |                                    |
 *      |                                    |     +-- polls without answer --> not-responding
 *      +-- polls without answer ------------|--------------------------------^
 *                                           v  SHUTDOWN, GUEST_PANICKED
 *                                         halted (tombstone)
 *   any --process gone, reason from the journal--> ended
 *
 * The loop owns the connection: whatever breaks, it looks whether the process lives, and connects again. It polls, since a
 * process that stands still breaks nothing.
 */
import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { BlixardError, type Clock, messageOf, offAbort, onAbort, sleep, Watch, withDeadline } from "@blixard/common";
import { GuestAgent } from "../agent/guest-agent.ts";
import type {
  ExitReason,
  InstanceDisks,
  InstanceHandle,
  InstanceNics,
  InstancePaths,
  InstanceSize,
  InstanceState,
  VmInstance,
} from "../driver.ts";
import { foldState, readJournalReason, readJournalState, stateOfRunState } from "./event-journal.ts";
import { isAlive, signalProcess } from "./process-identity.ts";
import { QmpClient, type QmpEvent } from "./qmp-client.ts";

/** How often to look whether the process lives; a closed connection makes it look at once. */
const exitPollMs = 500;
/** After the connection broke, time for the process to end before it is connected again. */
const exitGraceMs = 2_000;
const pollIntervalMs = 1_000;
const pollTimeoutMs = 2_000;
/** Polls without an answer, one after the other, after which the process does not respond. */
const pollsMissedMax = 3;
const connectRetryMs = 10;
/** Slow, because a process that just started answers within a fraction of a second. */
const connectRetryGrowth = 1.25;
const connectRetryMsMax = 1_000;
const serialRetryMs = 100;
const consoleWriteTimeoutMs = 10_000;

/** Runs a command of QMP. */
export type ExecuteQmp = (command: string, commandArguments?: Readonly<Record<string, unknown>>) => Promise<unknown>;

/** What a process can do beside what all of them can. */
export interface QmpAbilities {
  readonly disks?: (execute: ExecuteQmp) => InstanceDisks;
  readonly size?: (execute: ExecuteQmp) => InstanceSize;
  readonly nics?: (execute: ExecuteQmp) => InstanceNics;
}

export interface QmpInstanceOptions extends QmpAbilities {
  readonly clock: Clock;
  readonly handle: InstanceHandle;
  readonly paths: InstancePaths;
}

export class QmpInstance implements VmInstance {
  readonly handle: InstanceHandle;
  readonly state: Watch<InstanceState>;
  readonly serialActivity = new Watch(0);
  readonly agent?: GuestAgent;
  readonly disks?: InstanceDisks;
  readonly size?: InstanceSize;
  readonly nics?: InstanceNics;
  readonly #clock: Clock;
  readonly #paths: InstancePaths;
  readonly #detached = new AbortController();
  readonly #loop: Promise<void>;
  /** Counts attempts to reach the process, so that an adopter can wait for the first. */
  readonly #attempts = new Watch(0);
  #client: QmpClient | undefined;
  #pollsMissed = 0;
  #missedMs = Number.NEGATIVE_INFINITY;
  readonly #serial = new Watch<Socket | undefined>(undefined);

  constructor(options: QmpInstanceOptions) {
    this.#clock = options.clock;
    this.#paths = options.paths;
    this.handle = options.handle;
    // It was bound before the process was started, which cannot remove it.
    const { clock, paths } = options;
    if (existsSync(paths.agentSocket)) this.agent = new GuestAgent({ clock, path: paths.agentSocket });
    const execute: ExecuteQmp = (command, given) => this.#execute(command, undefined, given);
    const [disks, size, nics] = [options.disks?.(execute), options.size?.(execute), options.nics?.(execute)];
    if (disks !== undefined) this.disks = disks;
    if (size !== undefined) this.size = size;
    if (nics !== undefined) this.nics = nics;
    this.state = new Watch<InstanceState>({ type: "unknown", message: "not connected yet" });
    this.#loop = this.#run();
  }

  /** Resolves when the process was reached once, is gone, or did not answer in time. */
  async firstContact(): Promise<void> {
    await this.#attempts.until((attempts) => attempts > 0);
  }

  async pause(): Promise<void> {
    if (this.state.value.type === "running") await this.#execute("stop");
    await this.#refresh();
  }

  async resume(): Promise<void> {
    const { type } = this.state.value;
    if (type === "paused" || type === "io-error") await this.#execute("cont");
    await this.#refresh();
  }

  async requestPowerdown(): Promise<void> {
    if (this.state.value.type === "running") await this.#execute("system_powerdown");
  }

  async quit(): Promise<void> {
    if (this.state.value.type === "ended") return;
    // The process may end before it answers, and who asks waits for its end in any case, not for the answer.
    await this.#execute("quit").catch(() => {});
  }

  kill(signal: "SIGTERM" | "SIGKILL"): void {
    signalProcess(this.handle, signal);
  }

  async writeConsole(data: Uint8Array): Promise<void> {
    if (this.state.value.type === "ended") throw new BlixardError("UNAVAILABLE", "the VM does not run");
    const deadline = { clock: this.#clock, timeoutMs: consoleWriteTimeoutMs, what: "writing to the console" };
    await withDeadline(deadline, async (signal) => {
      const serial = await this.#serial.until((socket) => socket !== undefined, { signal });
      if (serial !== undefined) await writeAll(serial, data);
    });
  }

  async detach(): Promise<void> {
    this.#detached.abort();
    this.#client?.close();
    this.agent?.close();
    this.#serial.value?.destroy();
    await this.#loop;
  }

  async #run(): Promise<void> {
    let retryMs = connectRetryMs;
    while (!this.#detached.signal.aborted) {
      if (!isAlive(this.handle)) {
        await this.#end();
        break;
      }
      try {
        await this.#serve();
        retryMs = connectRetryMs;
      } catch (error) {
        if (this.#detached.signal.aborted) break;
        this.#miss(error);
        retryMs = Math.min(retryMs * connectRetryGrowth, connectRetryMsMax);
        this.#attempts.update((attempts) => attempts + 1);
      }
      await this.#pause(retryMs);
    }
    this.#attempts.update((attempts) => attempts + 1);
  }

  /** One connection from its greeting to its end. Resolves when it closed, rejects when it never worked. */
  async #serve(): Promise<void> {
    const closed = new Watch(false);
    const client = await QmpClient.connect({
      clock: this.#clock,
      path: this.#paths.controlSocket,
      onEvent: (event) => this.#onEvent(event),
      onClose: () => closed.set(true),
    });
    this.#client = client;
    const serialEnd = new AbortController();
    try {
      await this.#refresh();
      const serialLoop = this.#drainSerial(serialEnd.signal);
      this.#attempts.update((attempts) => attempts + 1);
      await this.#untilClosedOrDead(closed);
      serialEnd.abort();
      this.#serial.value?.destroy();
      await serialLoop;
    } finally {
      serialEnd.abort();
      this.#client = undefined;
      client.close();
    }
    await this.#graceForExit();
  }

  async #untilClosedOrDead(closed: Watch<boolean>): Promise<void> {
    let pollMs = this.#clock.monotonicMs() + pollIntervalMs;
    while (!closed.value && !this.#detached.signal.aborted && isAlive(this.handle)) {
      const round = new AbortController();
      await Promise.race([
        closed.until((value) => value, { signal: round.signal }).catch(() => {}),
        sleep(this.#clock, exitPollMs, round.signal).catch(() => {}),
      ]);
      round.abort();
      if (closed.value || this.#clock.monotonicMs() < pollMs) continue;
      await this.#refresh(pollTimeoutMs).catch((error: unknown) => {
        if (!closed.value) this.#miss(error);
      });
      pollMs = this.#clock.monotonicMs() + pollIntervalMs;
    }
  }

  /** Attempts that follow one another faster than polls do count as one. */
  #miss(error: unknown): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#missedMs < pollIntervalMs) return;
    this.#missedMs = nowMs;
    this.#pollsMissed++;
    const { type } = this.state.value;
    if (this.#pollsMissed < pollsMissedMax) {
      if (type === "unknown") this.state.set({ type, message: messageOf(error) });
      return;
    }
    const message = `process ${this.handle.pid} did not answer ${pollsMissedMax} times: ${messageOf(error)}`;
    this.#setState({ type: "not-responding", last: type === "paused" ? "paused" : "running", message });
  }

  async #graceForExit(): Promise<void> {
    const until = this.#clock.monotonicMs() + exitGraceMs;
    while (!this.#detached.signal.aborted && isAlive(this.handle) && this.#clock.monotonicMs() < until) {
      await this.#pause(connectRetryMs);
    }
  }

  async #end(): Promise<void> {
    const recorded = await readJournalReason(this.#paths.journalOut).catch(() => undefined);
    const state = this.state.value;
    const reason: ExitReason = recorded ?? (state.type === "halted" ? state.reason : "process-lost");
    const message =
      recorded === undefined ? `process ${this.handle.pid} ended without a word` : `process ${this.handle.pid} ended`;
    this.state.set({ type: "ended", reason, message });
  }

  async #refresh(timeoutMs?: number): Promise<void> {
    const status = await this.#execute("query-status", timeoutMs);
    this.#pollsMissed = 0;
    const runState = typeof status === "object" && status !== null && "status" in status ? status.status : undefined;
    const next = stateOfRunState(runState);
    if (next.type === "io-error") return await this.#findDiskFailure(next);
    if (next.type !== "halted") return this.#setState(next);
    // The run state "shutdown" does not say who asked for it; the journal does.
    const reason = (await readJournalReason(this.#paths.journalOut)) ?? next.reason;
    this.#setState({ type: "halted", reason });
  }

  /** The run state says no more than that a disk failed; an event said which one, to whoever was there. */
  async #findDiskFailure(unnamed: InstanceState): Promise<void> {
    if (this.state.value.type === "io-error") return;
    const told = await readJournalState(this.#paths.journalOut).catch(() => undefined);
    this.#setState(told?.type === "io-error" ? told : unnamed);
  }

  async #execute(command: string, timeoutMs?: number, given?: Readonly<Record<string, unknown>>): Promise<unknown> {
    const client = this.#client;
    if (client === undefined) throw new BlixardError("UNAVAILABLE", "the VM's process does not answer");
    return await client.execute(command, given, timeoutMs === undefined ? {} : { timeoutMs });
  }

  #onEvent(event: QmpEvent): void {
    this.#setState(foldState(this.state.value, event));
  }

  #setState(next: InstanceState): void {
    const state = this.state.value;
    if (state.type === "ended" || (state.type === "halted" && next.type !== "halted")) return;
    if (state.type !== next.type) this.state.set(next);
  }

  /** Keeps the one serial connection and reads it always: a reader that stops would stall the guest. */
  async #drainSerial(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#detached.signal.aborted) {
      await this.#drainOnce(signal);
      await sleep(this.#clock, serialRetryMs, signal).catch(() => {});
    }
  }

  #drainOnce(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect(this.#paths.serialSocket);
      const abort = () => socket.destroy();
      onAbort(signal, abort);
      socket.on("connect", () => {
        this.#serial.set(socket);
        this.serialActivity.update((value) => value + 1);
      });
      socket.on("data", () => this.serialActivity.update((value) => value + 1));
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        offAbort(signal, abort);
        if (this.#serial.value === socket) this.#serial.set(undefined);
        resolve();
      });
    });
  }

  async #pause(delayMs: number): Promise<void> {
    await sleep(this.#clock, delayMs, this.#detached.signal).catch(() => {});
  }
}

function writeAll(socket: Socket, data: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(data, (error) => {
      if (error) reject(new BlixardError("UNAVAILABLE", `the console closed: ${messageOf(error)}`, { cause: error }));
      else resolve();
    });
  });
}
