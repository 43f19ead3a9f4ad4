/** A cluster node as it runs on a simulated machine: the same `startClusterNode` as in the binary. */
import { hash } from "node:crypto";
import {
  type ClusterNode,
  type ClusterNodeDeps,
  type ClusterNodeOptions,
  type JoinSeed,
  type JoinTarget,
  type StartMode,
  startClusterNode,
} from "@blixard/cluster";
import { madeUpSealing, madeUpSignatures } from "@blixard/cluster/testing";
import { discardMetrics, type Metrics, toHex } from "@blixard/common";
import { ticketCrypto } from "@blixard/identity";
import { type JoinTicket, type MemberRole, showTicket } from "@blixard/protocol";
import { ObservedSha256, observeLogger, observeLogOfState, observeSnapshots, observeState } from "./observed-stores.ts";
import { between, randomOf } from "./seeds.ts";
import type { SimDisk } from "./sim-disk.ts";
import type { Program, ProgramStart, SimWorld } from "./sim-machine.ts";
import type { SimProcess } from "./sim-process.ts";
import { SimVmManager, VmHost, VmRegistry } from "./sim-vm-manager.ts";

/** What all machines of a simulated cluster share. */
export interface ClusterWorld extends SimWorld {
  readonly registry: VmRegistry;
  readonly nodeOptions: Omit<ClusterNodeOptions, "nodeId" | "version">;
  /** Default: they are thrown away. */
  readonly metricsOf?: (nodeId: number) => Metrics;
}

/** How the first start on a machine goes; later ones resume. */
export type FirstStart =
  | { readonly mode: "bootstrap"; readonly clusterId: string; readonly tokenHash: string }
  | { readonly mode: "join"; readonly ticket: JoinTicket }
  | { readonly mode: "rejoin"; readonly target: JoinTarget };

type Stores = Pick<Awaited<ReturnType<SimDisk["open"]>>, "log" | "snapshots" | "state">;

const joinTimeoutMs = 20_000;
/** Of machines: less apart than the tenth that leases allow for. */
const clockRates = { min: 0.955, max: 1.045 };
const seedFileMs = 1;

export const sha256 = (bytes: Uint8Array): Uint8Array => hash("sha256", bytes, "buffer");

export class ClusterProgram implements Program<ClusterNode> {
  readonly #id: number;
  readonly #world: ClusterWorld;
  #first: FirstStart;
  readonly #endpointId: string;
  readonly #vms: VmHost;
  /** The file with the members: `join.json` of the binary. */
  #seed: JoinSeed | undefined;
  #wasBootstrapped = false;
  #starts = 0;

  /** `takenRole`: the role of a member that was taken over. */
  constructor(id: number, world: ClusterWorld, first: FirstStart, takenRole?: MemberRole) {
    this.#id = id;
    this.#world = world;
    this.#first = first;
    this.#endpointId = toHex(randomOf(world.seed, `endpoint-${id}`).bytes(32));
    // A VM whose node lies about it may run twice.
    const registry =
      takenRole === undefined
        ? world.registry
        : new VmRegistry(
            () => {},
            () => {},
          );
    const clockRate = between(randomOf(world.seed, `host-clock-${id}`), clockRates.min, clockRates.max);
    this.#vms = new VmHost(id, registry, world.time, clockRate);
    if (takenRole !== undefined && takenRole !== "witness") world.checker.distrust(id);
  }

  get endpointId(): string {
    return this.#endpointId;
  }

  async start(start: ProgramStart): Promise<ClusterNode> {
    const { network, nodeOptions, seed, metricsOf, checker } = this.#world;
    const { process, disk, boot, ended } = start;
    const { storeId, starts, ...stores } = await disk.open(process);
    this.#starts = starts;
    checker.states.started(this.#id, checker.appliedMax);
    const touchesVms = () => {
      if (!checker.isDistrusted(this.#id)) checker.states.touchesVms(this.#id);
    };
    const transport = network.join(this.#endpointId, process);
    const deps: ClusterNodeDeps = {
      clock: process.clock,
      random: randomOf(seed, `node-${this.#id}-${boot}`),
      metrics: metricsOf?.(this.#id) ?? discardMetrics,
      ticketCrypto,
      signatures: madeUpSignatures(this.#endpointId),
      sealing: madeUpSealing(this.#endpointId),
      ...this.#observed(stores, process),
      transport,
      store: { storeId, starts },
      onMembers: (seed) => void this.#keepSeed(seed, process),
      startVmManager: async () => new SimVmManager(this.#vms, process, touchesVms),
      onFatal: ended,
    };
    const how = this.#startMode(process);
    const node = await startClusterNode(deps, { ...nodeOptions, nodeId: this.#id, version: "0.0.0-simulated" }, how);
    if (how.mode === "bootstrap") this.#wasBootstrapped = true;
    this.#watch(node, ended);
    return node;
  }

  #observed({ log, snapshots, state }: Stores, process: SimProcess) {
    const { checker, logger } = this.#world;
    const nodeLogger = logger(this.#id);
    if (checker.isDistrusted(this.#id)) return { log, snapshots, stateStore: state, sha256, logger: nodeLogger };
    const hashing = new ObservedSha256(sha256, ({ index, term, hash }) => {
      if (!process.alive) return;
      checker.applied(this.#id, index, term, hash);
      checker.states.applied(this.#id, index);
    });
    return {
      log: observeLogOfState(log, process, checker),
      snapshots: observeSnapshots(snapshots, process, checker),
      stateStore: observeState(state, process, checker, hashing),
      sha256: hashing.hash,
      logger: observeLogger(nodeLogger, process, checker),
    };
  }

  #startMode(process: SimProcess): StartMode {
    if (this.#seed !== undefined) return { mode: "resume", seed: this.#seed };
    if (this.#wasBootstrapped) return { mode: "resume" };
    if (this.#first.mode === "bootstrap") return this.#first;
    const onAdmitted = (seed: JoinSeed) => this.#keepSeed(seed, process);
    return { mode: "join", target: this.#target(this.#first), timeoutMs: joinTimeoutMs, onAdmitted };
  }

  #target(first: Exclude<FirstStart, { readonly mode: "bootstrap" }>): JoinTarget {
    if (first.mode === "rejoin") return first.target;
    const { ticket } = first;
    const show = (asked: string) => showTicket(ticket, { holder: this.#endpointId, asked }, ticketCrypto);
    return { endpoints: ticket.endpoints, clusterId: ticket.clusterId, ticket: show };
  }

  #watch(node: ClusterNode, ended: (error: unknown) => void): void {
    node.lifecycle
      .until(({ phase }) => phase !== "serving")
      .then(
        ({ error }) => ended(error),
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

  close(node: ClusterNode): Promise<void> {
    return node.close();
  }

  powerLost(): void {
    this.#vms.stopAll();
  }

  /** The key is still there, so no ticket is needed. The voters are asked, as by the binary. */
  storeGone(): boolean {
    const others = this.#seed?.nodes.filter(({ id, role }) => id !== this.#id && role === "voter") ?? [];
    if (others.length === 0) return false;
    this.#seed = undefined;
    this.#wasBootstrapped = false;
    this.#first = { mode: "rejoin", target: { endpoints: others, ticket: null } };
    return true;
  }

  /** The number of the newest start that got so far as to open the store. */
  get starts(): number {
    return this.#starts;
  }
}
