/**
 * The lease of this node as its VM manager keeps it: VMs that need it are started by the watchdog, which ends them when it is over,
 * and by the machines of the manager, which look here. The watchdog is started with the first such VM, and ends without one.
 *
 *     nothing --first VM--> started --answers--> works --silent--> silent: no renewals; killed when the lease is over --> nothing
 *        ^                                          |
 *        +---------------- gone: its VMs ended with it (kernel) ----+
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Clock, type Logger, messageOf, SerialQueue, type Timer, Watch } from "@blixard/common";
import { findProgram } from "../confinement/launcher.ts";
import type { SpawnInstance } from "../driver.ts";
import type { ProcessIdentity } from "../process/process-identity.ts";
import type { VmLeases } from "../vm-manager-types.ts";
import { bootTimeMs } from "./boot-time.ts";
import type { WatchdogNote } from "./watchdog-messages.ts";
import {
  endWatchdogs,
  openWatchdog,
  startWatchdog,
  type WatchdogConnection,
  type WatchdogPlace,
} from "./watchdog-process.ts";

const answerTimeoutMs = 1_000;
const spawnTimeoutMs = 30_000;
const trialTimeoutMs = 5_000;

export interface LeaseGuardDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly dataDir: string;
  readonly runDirectory: string;
}

export class LeaseGuard implements VmLeases {
  /** Whether VMs that need it may run. */
  readonly held = new Watch(false);
  readonly #deps: LeaseGuardDeps;
  readonly #place: WatchdogPlace;
  /** One start, or end, of a watchdog at a time. */
  readonly #changes = new SerialQueue();
  #untilMs = 0;
  #connection: WatchdogConnection | undefined;
  #canGuard: Promise<string | undefined> | undefined;
  #silent = false;
  #timer: Timer | undefined;
  #closed = false;

  private constructor(deps: LeaseGuardDeps) {
    this.#deps = deps;
    const { clock, runDirectory, dataDir } = deps;
    this.#place = { clock, socketPath: join(runDirectory, "watchdog"), notesPath: join(dataDir, "watchdog.jsonl") };
  }

  /** Finds the watchdog of an earlier manager again, with the lease that it knows. One that does not answer is ended. */
  static async open(deps: LeaseGuardDeps): Promise<LeaseGuard> {
    const guard = new LeaseGuard(deps);
    const connection = await openWatchdog(guard.#place).catch(() => undefined);
    try {
      if (connection === undefined) throw new Error("nobody listens");
      const { untilMs } = await connection.ask({ type: "hello" }, answerTimeoutMs);
      guard.#connection = connection;
      guard.#become(untilMs);
    } catch (error) {
      connection?.close();
      const ended = await endWatchdogs(guard.#place);
      const why = { error: messageOf(error) };
      if (ended > 0) deps.logger.log("warn", "the watchdog did not answer, and was ended with its VMs", why);
    }
    return guard;
  }

  nowMs(): number {
    return bootTimeMs();
  }

  isHeld(): boolean {
    return this.nowMs() < this.#untilMs;
  }

  async unguarded(): Promise<string | undefined> {
    this.#canGuard ??= whyNoGuard();
    const reason = await this.#canGuard;
    if (reason !== undefined) {
      this.#canGuard = undefined;
      return reason;
    }
    const connection = await this.#found();
    if (connection === undefined) return undefined;
    try {
      await connection.ask({ type: "hello" }, answerTimeoutMs);
      this.#silent = false;
      return undefined;
    } catch (error) {
      if (!this.#silent) this.#deps.logger.log("warn", "the watchdog does not answer", { error: messageOf(error) });
      this.#silent = true;
      return "its watchdog does not answer";
    }
  }

  async extend(untilMs: number): Promise<void> {
    if (untilMs <= this.#untilMs || this.#closed) return;
    const connection = this.#connection;
    // Told before it counts here: nothing starts in a lease of which the watchdog does not know.
    if (connection?.isOpen) await connection.ask({ type: "lease", untilMs }, answerTimeoutMs);
    this.#become(Math.max(untilMs, this.#untilMs));
  }

  async limit(untilMs: number): Promise<void> {
    if (untilMs >= this.#untilMs || this.#closed) return;
    const connection = await this.#found();
    await connection?.ask({ type: "lease", untilMs }, answerTimeoutMs);
    this.#become(untilMs);
  }

  /** Starts a process that ends with the lease. @throws VM_DRIVER_FAILED, DEADLINE_EXCEEDED */
  readonly spawn: SpawnInstance = async (command, { vmId, paths, confinement, agent = false }) => {
    const connection = await this.#working();
    return await connection.ask({ type: "spawn", vmId, command, paths, confinement, agent }, spawnTimeoutMs);
  };

  /** Whether the watchdog has ended this process. */
  async hasEnded({ pid, startTime }: ProcessIdentity): Promise<boolean> {
    const text = await readFile(this.#place.notesPath, "utf8").catch(() => "");
    return text.split("\n").some((line) => {
      const note = parseNote(line);
      return note?.pid === pid && note.startTime === startTime;
    });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#connection?.close();
  }

  /** The watchdog; undefined when there is none. One that cannot be reached again is ended, and holds nothing any more. */
  async #found(): Promise<WatchdogConnection | undefined> {
    const connection = this.#connection;
    if (connection === undefined || connection.isOpen) return connection;
    return await this.#changes.run(async () => {
      if (this.#connection !== connection) return this.#connection;
      this.#connection = await openWatchdog(this.#place).catch(() => undefined);
      if (this.#connection === undefined) await endWatchdogs(this.#place);
      return this.#connection;
    });
  }

  #working(): Promise<WatchdogConnection> {
    return this.#changes.run(async () => {
      if (this.#connection?.isOpen) return this.#connection;
      let connection = await openWatchdog(this.#place).catch(() => undefined);
      if (connection === undefined) {
        // One whose socket is gone would hold VMs of which nobody else knows.
        await endWatchdogs(this.#place);
        connection = await startWatchdog(this.#place, this.#untilMs);
      }
      this.#connection = connection;
      // What came in while it started.
      await connection.ask({ type: "lease", untilMs: this.#untilMs }, answerTimeoutMs);
      return connection;
    });
  }

  #become(untilMs: number): void {
    this.#untilMs = untilMs;
    this.#timer?.cancel();
    this.#look();
  }

  /** A timer only wakes who looks: the clock says what holds. */
  #look(): void {
    const leftMs = this.#untilMs - this.nowMs();
    const isHeld = leftMs > 0;
    if (isHeld !== this.held.value) this.held.set(isHeld);
    if (isHeld && !this.#closed) this.#timer = this.#deps.clock.setTimer(Math.max(1, leftMs), () => this.#look());
    else void this.#endSilent();
  }

  /** A watchdog that stands still does not end its VMs: they end with it. */
  async #endSilent(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined || this.#closed) return;
    const answer = await connection.ask({ type: "hello" }, answerTimeoutMs).catch(() => undefined);
    if (answer !== undefined || this.isHeld() || this.#closed) return;
    await this.#changes.run(async () => {
      connection.close();
      if (this.#connection === connection) this.#connection = undefined;
      const ended = await endWatchdogs(this.#place);
      this.#silent = false;
      if (ended > 0) this.#deps.logger.log("warn", "the watchdog stood still when the lease was over: it was killed");
    });
  }
}

/** What a watchdog needs of this host, tried once. */
async function whyNoGuard(): Promise<string | undefined> {
  if (findProgram("bash") === undefined) return "bash is not installed";
  const setpriv = findProgram("setpriv");
  if (setpriv === undefined) return "setpriv (util-linux) is not installed";
  try {
    await promisify(execFile)(setpriv, ["--pdeathsig", "KILL", "--", "true"], { timeout: trialTimeoutMs });
    bootTimeMs();
    return undefined;
  } catch (error) {
    return `setpriv --pdeathsig does not work here: ${messageOf(error)}`;
  }
}

function parseNote(line: string): Partial<WatchdogNote> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
