/**
 * One simulated machine: a disk, VMs and a wall clock that outlive the node process on it.
 *
 *     off -> starting -> up -> off        (crash; or the node ended by itself, and is started again)
 *               +---------+--> lost       (its disk is damaged: an operator has to replace it)
 *               +---------+--> removed    (no member any more)
 */
import { hash } from "node:crypto";
import {
  type ClusterNode,
  type ClusterNodeOptions,
  createClusterNode,
  type JoinSeed,
  type JoinTarget,
} from "@blixard/cluster";
import { BlixardError, discardMetrics, errorCodeOf, type Logger, messageOf, type Random, toHex } from "@blixard/common";
import { observeLog, observeState } from "./observed-stores.ts";
import type { RaftChecker } from "./raft-checker.ts";
import { randomOf } from "./seeds.ts";
import type { CrashMode } from "./sim-database.ts";
import { SimDisk } from "./sim-disk.ts";
import type { SimNetwork } from "./sim-network.ts";
import { SimProcess } from "./sim-process.ts";
import { SimVmManager, VmHost, type VmRegistry } from "./sim-vm-manager.ts";
import type { Violations } from "./violation.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** What all machines of one simulation share. */
export interface SimWorld {
  readonly seed: number;
  readonly time: VirtualTime;
  readonly network: SimNetwork;
  readonly checker: RaftChecker;
  readonly registry: VmRegistry;
  readonly violations: Violations;
  readonly logger: (nodeId: number) => Logger;
  readonly nodeOptions: Omit<ClusterNodeOptions, "nodeId" | "version">;
}

/** How the first start of a machine goes; later ones resume. */
export type FirstStart =
  | { readonly mode: "bootstrap"; readonly clusterId: string; readonly tokenHash: string }
  | { readonly mode: "join"; readonly target: JoinTarget };

export type MachinePhase = "off" | "starting" | "up" | "lost" | "removed";

const joinTimeoutMs = 20_000;
const seedFileMs = 1;

export const sha256 = (bytes: Uint8Array): Uint8Array => hash("sha256", bytes, "buffer");

export class SimMachine {
  readonly id: number;
  readonly endpointId: string;
  readonly disk: SimDisk;
  readonly vms: VmHost;
  readonly #world: SimWorld;
  readonly #first: FirstStart;
  readonly #random: Random;
  #boots = 0;
  #seed: JoinSeed | undefined;
  #wasBootstrapped = false;
  #process: SimProcess | undefined;
  #node: ClusterNode | undefined;
  #phase: MachinePhase = "off";
  /** Added to the wall time of this machine. */
  wallOffsetMs = 0;
  /** While true, nothing starts the node again. */
  heldDown = false;

  constructor(id: number, world: SimWorld, first: FirstStart) {
    this.id = id;
    this.endpointId = toHex(randomOf(world.seed, `endpoint-${id}`).bytes(32));
    this.disk = new SimDisk(randomOf(world.seed, `disk-${id}`));
    this.vms = new VmHost(id, world.registry);
    this.#world = world;
    this.#first = first;
    this.#random = randomOf(world.seed, `machine-${id}`);
  }

  get phase(): MachinePhase {
    return this.#phase;
  }

  get process(): SimProcess | undefined {
    return this.#process;
  }

  /** The node while it serves. */
  get node(): ClusterNode | undefined {
    return this.#phase === "up" ? this.#node : undefined;
  }

  /** Starts the node on what the disk holds. Resolves when it serves or has ended. */
  async boot(): Promise<void> {
    if (this.#phase !== "off") return;
    this.#phase = "starting";
    this.#boots++;
    const process = new SimProcess(this.id, this.#world.time, () => this.wallOffsetMs);
    this.#process = process;
    try {
      const node = await this.#createNode(process);
      if (!process.alive) return;
      this.#node = node;
      await this.#start(node, process);
      if (process.alive) this.#phase = "up";
    } catch (error) {
      this.#ended(process, error);
    }
  }

  async #createNode(process: SimProcess): Promise<ClusterNode> {
    const { network, checker, logger, nodeOptions, seed } = this.#world;
    const stores = await this.disk.open(process);
    let node: ClusterNode | undefined;
    const transport = network.join(this.endpointId, process, (call, signal) => {
      if (node !== undefined) return node.handleRpc(call, signal);
      return Promise.reject(new BlixardError("UNAVAILABLE", "the node is starting", { outcome: "not_applied" }));
    });
    node = createClusterNode(
      {
        clock: process.clock,
        random: randomOf(seed, `node-${this.id}-${this.#boots}`),
        logger: logger(this.id),
        metrics: discardMetrics,
        sha256,
        log: observeLog(stores.log, process, checker),
        snapshots: stores.snapshots,
        stateStore: observeState(stores.state, process, checker),
        transport,
        vmManager: new SimVmManager(this.vms, process),
        onFatal: (error) => this.#ended(process, error),
      },
      { ...nodeOptions, nodeId: this.id, version: "0.0.0-simulated" },
    );
    return node;
  }

  async #start(node: ClusterNode, process: SimProcess): Promise<void> {
    if (this.#seed !== undefined) await node.start({ mode: "resume", seed: this.#seed });
    else if (this.#wasBootstrapped) await node.start({ mode: "resume" });
    else if (this.#first.mode === "bootstrap") {
      await node.start(this.#first);
      this.#wasBootstrapped = true;
    } else {
      const onAdmitted = (seed: JoinSeed) => this.#keepSeed(seed, process);
      await node.start({ mode: "join", target: this.#first.target, timeoutMs: joinTimeoutMs, onAdmitted });
    }
    node.lifecycle
      .until(({ phase }) => phase !== "serving" && phase !== "starting")
      .then(
        ({ error }) => this.#ended(process, error),
        () => {},
      );
  }

  #keepSeed(seed: JoinSeed, process: SimProcess): Promise<void> {
    return new Promise((resolve) => {
      process.after(seedFileMs, () => {
        this.#seed = seed;
        resolve();
      });
    });
  }

  /** The node ended by itself: as the binary does, with an exit code that says whether a new start can help. */
  #ended(process: SimProcess, error: unknown): void {
    if (!process.alive) return;
    process.kill();
    this.disk.crash("kill");
    const code = errorCodeOf(error);
    this.#world.logger(this.id).log("info", "sim: the node ended", { code, error: String(error) });
    if (code === "REMOVED") this.#phase = "removed";
    else if (code === "STORAGE_CORRUPT") this.#lose(error);
    else this.#restartSoon();
  }

  #lose(error: unknown): void {
    this.#phase = "lost";
    if (this.disk.rotten) return;
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
    if (mode !== "kill") this.vms.stopAll();
    if (this.#phase === "up" || this.#phase === "starting") this.#phase = "off";
  }

  /** Switches the machine off for good. */
  retire(): void {
    this.crash("lost");
    this.vms.stopAll();
    this.#phase = "removed";
  }
}
