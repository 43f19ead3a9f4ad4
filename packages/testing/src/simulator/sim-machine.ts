/**
 * One simulated machine: a disk and a wall clock that outlive the program on it.
 *
 *     off -> starting -> up -> off        (crash; or the program ended by itself, and is started again)
 *               +---------+--> lost       (its store is damaged or too old: an operator has to see to it)
 *                              lost -> off (its store was moved away; it asks to be let in again)
 *               +---------+--> removed    (no member any more)
 */
import { errorCodeOf, type Logger, messageOf, type Random } from "@blixard/common";
import type { RaftChecker } from "./raft-checker.ts";
import { randomOf } from "./seeds.ts";
import type { CrashMode } from "./sim-database.ts";
import { type DiskCopy, SimDisk } from "./sim-disk.ts";
import type { SimNetwork } from "./sim-network.ts";
import { SimProcess } from "./sim-process.ts";
import type { Violations } from "./violation.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** What all machines of one simulation share. */
export interface SimWorld {
  readonly seed: number;
  readonly time: VirtualTime;
  readonly network: SimNetwork;
  readonly checker: RaftChecker;
  readonly violations: Violations;
  readonly logger: (nodeId: number) => Logger;
  /** A program ended by itself. `served`: it had come so far. */
  readonly onEnded?: (nodeId: number, error: unknown, served: boolean) => void;
}

/** One start of a program. */
export interface ProgramStart {
  readonly process: SimProcess;
  readonly disk: SimDisk;
  /** How often this machine has started it, from 1. */
  readonly boot: number;
  /** The program ended by itself, now or later. */
  readonly ended: (error: unknown) => void;
}

/** What runs on a machine. */
export interface Program<Node> {
  /** A node on what the disk holds. Resolves when it serves. */
  start(start: ProgramStart): Promise<Node>;
  /** Closes a node that was removed, as the binary does before its process ends. */
  close?(node: Node): Promise<void>;
  /** The machine lost its power. */
  powerLost(): void;
  /** The operator moved the store away, and the next start asks the others to let it in again. False: it cannot. */
  storeGone?(): boolean;
}

/** For so long a node that was told that it is removed still answers, before its process ends. */
const lastAnswersMs = 3;

export type MachinePhase = "off" | "starting" | "up" | "lost" | "removed";

export class SimMachine<Node = unknown> {
  readonly id: number;
  readonly disk: SimDisk;
  readonly #world: SimWorld;
  readonly #program: Program<Node>;
  readonly #random: Random;
  #boots = 0;
  #process: SimProcess | undefined;
  #node: Node | undefined;
  #phase: MachinePhase = "off";
  /** Added to the wall time of this machine. */
  wallOffsetMs = 0;
  /** How fast its clocks run, compared with the time of the simulation. */
  clockRate = 1;
  /** While true, nothing starts the program again. */
  heldDown = false;

  constructor(id: number, world: SimWorld, program: Program<Node>) {
    this.id = id;
    this.disk = new SimDisk(randomOf(world.seed, `disk-${id}`));
    this.#world = world;
    this.#program = program;
    this.#random = randomOf(world.seed, `machine-${id}`);
  }

  get phase(): MachinePhase {
    return this.#phase;
  }

  get process(): SimProcess | undefined {
    return this.#process;
  }

  /** The node while it serves. */
  get node(): Node | undefined {
    return this.#phase === "up" ? this.#node : undefined;
  }

  /** Starts the program on what the disk holds. Resolves when it serves or has ended. */
  async boot(): Promise<void> {
    if (this.#phase !== "off") return;
    this.#phase = "starting";
    this.#boots++;
    const process = new SimProcess(this.id, this.#world.time, () => this.wallOffsetMs, this.clockRate);
    this.#process = process;
    const ended = (error: unknown) => this.#ended(process, error);
    try {
      const node = await this.#program.start({ process, disk: this.disk, boot: this.#boots, ended });
      if (!process.alive) return;
      this.#node = node;
      this.#phase = "up";
    } catch (error) {
      ended(error);
    }
  }

  /** The node ended by itself: as the binary does, with an exit code that says whether a new start can help. */
  #ended(process: SimProcess, error: unknown): void {
    if (!process.alive || this.#phase === "removed") return;
    const code = errorCodeOf(error);
    this.#world.onEnded?.(this.id, error, this.#phase === "up");
    this.#world.logger(this.id).log("info", "sim: the node ended", { code, error: String(error) });
    if (code === "REMOVED") {
      this.#phase = "removed";
      // What callers of it are told last still reaches them.
      process.after(lastAnswersMs, () => void this.#close(process));
      return;
    }
    const isTrusted = !this.#world.checker.isDistrusted(this.id);
    if (code === "STORAGE_FAILED" && !this.disk.wasHurt && isTrusted) {
      const detail = `node ${this.id} ended because of a disk that was well: ${messageOf(error)}`;
      this.#world.violations.report("a disk that works is not blamed", detail);
    }
    process.kill();
    this.disk.crash("kill");
    if (code === "STORAGE_CORRUPT") this.#lose(error);
    else this.#restartSoon();
  }

  async #close(process: SimProcess): Promise<void> {
    if (this.#node !== undefined) await this.#program.close?.(this.#node).catch(() => {});
    process.kill();
  }

  #lose(error: unknown): void {
    this.#phase = "lost";
    if (this.disk.rotten || this.disk.outdated || this.#world.checker.isDistrusted(this.id)) return;
    const detail = `node ${this.id} calls its data damaged: ${messageOf(error)}`;
    this.#world.violations.report("a crash damages no data", detail);
  }

  /** A service manager starts the node again. */
  #restartSoon(): void {
    this.#phase = "off";
    this.#world.time.after(200 + 1_800 * this.#random.next(), this.id, () => {
      if (!this.heldDown) void this.boot();
    });
  }

  /** Ends the process at once; with any mode but `kill`, the machine loses its power and the VMs on it. */
  crash(mode: CrashMode): void {
    if (this.#phase === "off") return;
    this.#process?.kill();
    this.disk.crash(mode);
    if (mode !== "kill") this.#program.powerLost();
    if (this.#phase === "up" || this.#phase === "starting") this.#phase = "off";
  }

  /** Puts an older copy of the disk in, while the machine is off, as from a backup. */
  restore(copy: DiskCopy): void {
    this.disk.restore(copy);
    this.disk.outdated = true;
    this.#world.checker.outdated(this.id);
  }

  /**
   * Starts without a store, as after `blixard recover`: what the node has promised is forgotten. Does nothing and
   * returns false when the program cannot come back that way.
   */
  recover(): boolean {
    if (this.#program.storeGone?.() !== true) return false;
    this.#process?.kill();
    this.disk.wipe();
    this.#world.checker.forget(this.id);
    this.#phase = "off";
    if (!this.heldDown) void this.boot();
    return true;
  }

  /** Switches the machine off for good. */
  retire(): void {
    this.crash("lost");
    this.#program.powerLost();
    this.#phase = "removed";
  }
}
